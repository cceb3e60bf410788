package main

import (
	"fmt"
	"math"
	"math/rand"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// A small history in which everything is right, as a base for faults.
func rightHistory() ([]*attempt, []*watched) {
	h := []*attempt{
		{client: 1, kind: opPut, key: "a", value: "1", begin: 10, end: 20, revision: 2},
		{client: 2, kind: opGet, key: "a", begin: 30, end: 40, seen: "1", mod: 2, revision: 2},
		{client: 1, kind: opPut, key: "a", value: "2", begin: 50, end: 60, outcome: unknown},
		{client: 2, kind: opGet, key: "a", begin: 70, end: 80, seen: "2", mod: 3, revision: 3},
		{client: 1, kind: opCas, key: "a", value: "3", expect: "2", begin: 90, end: 100, done: true, revision: 4},
		{client: 2, kind: opCas, key: "a", value: "4", expect: "2", begin: 110, end: 120, seen: "3", mod: 4, revision: 4},
		{client: 1, kind: opDelete, key: "a", begin: 130, end: 140, done: true, seen: "3", mod: 4, revision: 5},
		{client: 2, kind: opStale, key: "a", begin: 150, end: 160, seen: "1", mod: 2, revision: 2},
		{client: 2, kind: opGet, key: "a", begin: 170, end: 180, revision: 5},
		{client: 1, kind: opPut, key: "b", value: "5", begin: 190, end: 200, outcome: failed},
		{client: 1, kind: opPut, key: "b", value: "6", begin: 210, end: 220, revision: 6},
		{client: 1, kind: opPut, key: "c", value: "6", begin: 210, end: 220, revision: 6},
		{client: 2, kind: opGet, key: "b", begin: 230, end: 240, seen: "6", mod: 6, revision: 6},
	}
	e := []event{{2, "a", "1"}, {3, "a", "2"}, {4, "a", "3"}, {5, "a", ""}, {6, "b", "6"}, {6, "c", "6"}}
	late := append([]event{}, e[2:]...)
	return h, []*watched{{name: "x", from: 1, events: append([]event{}, e...)}, {name: "y", from: 1, events: late, gaps: [][2]int64{{1, 4}}}}
}

func TestARightHistoryPasses(t *testing.T) {
	h, w := rightHistory()
	if err := checkHistory(h, w, 6); err != nil {
		t.Fatal(err)
	}
}

func TestPlantedFaultsAreFound(t *testing.T) {
	remove := func(e []event, i int) []event { return append(append([]event{}, e[:i]...), e[i+1:]...) }
	for _, c := range []struct {
		name  string
		plant func(h []*attempt, w []*watched) ([]*attempt, []*watched)
		want  string
	}{
		{"an acknowledged write is lost", func(h []*attempt, w []*watched) ([]*attempt, []*watched) {
			h[12].seen, h[12].mod = "", 0
			return h, w
		}, "no order"},
		{"a linearizable read is stale in its value", func(h []*attempt, w []*watched) ([]*attempt, []*watched) {
			h[8].seen, h[8].mod = "3", 4
			return h, w
		}, "no order"},
		{"a linearizable read is stale in its revision", func(h []*attempt, w []*watched) ([]*attempt, []*watched) {
			return append(h, &attempt{kind: opGet, client: 3, key: "z", begin: 300, end: 310, revision: 5}), w
		}, "revisions went back"},
		{"two leaders acknowledge", func(h []*attempt, w []*watched) ([]*attempt, []*watched) {
			return append(h, &attempt{kind: opPut, client: 3, key: "z", value: "z", begin: 205, end: 230, revision: 6}), w
		}, "given to two writes"},
		{"a later write has a lower revision", func(h []*attempt, w []*watched) ([]*attempt, []*watched) {
			h[10].revision, h[11].revision = 1, 1
			return h, w
		}, "revisions went back"},
		{"a cas succeeds on a value that is gone", func(h []*attempt, w []*watched) ([]*attempt, []*watched) {
			h[4].expect = "1"
			return h, w
		}, "no order"},
		{"two cas of one value succeed", func(h []*attempt, _ []*watched) ([]*attempt, []*watched) {
			h[5].done, h[5].revision, h[5].seen = true, 5, ""
			return h[:6], nil
		}, "no order"},
		{"a failed write is there", func(h []*attempt, w []*watched) ([]*attempt, []*watched) {
			h[12].seen = "5"
			return h, w
		}, "no order"},
		{"a read tells another revision of the change", func(h []*attempt, w []*watched) ([]*attempt, []*watched) {
			h[12].mod = 5
			return h, w
		}, "no order"},
		{"an unknown write appears, vanishes, and appears again", func(h []*attempt, _ []*watched) ([]*attempt, []*watched) {
			h[3].seen, h[3].mod = "2", 3
			return append(h[:4], &attempt{kind: opGet, client: 3, key: "a", begin: 81, end: 82, seen: "1", mod: 2, revision: 3},
				&attempt{kind: opGet, client: 3, key: "a", begin: 83, end: 84, seen: "2", mod: 3, revision: 3}), nil
		}, "no order"},
		{"a write is applied twice", func(h []*attempt, w []*watched) ([]*attempt, []*watched) {
			w[0].events = append(w[0].events, event{7, "b", "6"})
			w[1].events = append(w[1].events, event{7, "b", "6"})
			return h, w
		}, "a watch has it at revision"},
		{"a write whose answer was lost is applied twice", func(h []*attempt, w []*watched) ([]*attempt, []*watched) {
			w[0].events = append(w[0].events, event{7, "a", "2"})
			w[1].events = append(w[1].events, event{7, "a", "2"})
			return h, w
		}, "written twice, at revisions 3 and 7"},
		{"a serializable read shows what nobody wrote", func(h []*attempt, w []*watched) ([]*attempt, []*watched) {
			h[7].seen = "9"
			return h, w
		}, "nobody wrote"},
		{"a watch misses an event", func(h []*attempt, w []*watched) ([]*attempt, []*watched) {
			w[0].events = remove(w[0].events, 2)
			return h, w
		}, "misses a at revision 4"},
		{"a watch misses half of a transaction", func(h []*attempt, w []*watched) ([]*attempt, []*watched) {
			w[1].events = remove(w[1].events, 3)
			return h, w
		}, "misses c at revision 6"},
		{"no watch has an acknowledged write", func(h []*attempt, w []*watched) ([]*attempt, []*watched) {
			w[0].events, w[1].events = remove(w[0].events, 4), remove(w[1].events, 2)
			return h, w
		}, "no watch has it"},
		{"a watch repeats an event", func(h []*attempt, w []*watched) ([]*attempt, []*watched) {
			w[0].events = append(w[0].events[:2], w[0].events[1:]...)
			return h, w
		}, "twice"},
		{"a watch goes back", func(h []*attempt, w []*watched) ([]*attempt, []*watched) {
			w[0].events = append(w[0].events, event{4, "a", "3"})
			return h, w
		}, "revision 4 after 6"},
		{"a watch begins before its start", func(h []*attempt, w []*watched) ([]*attempt, []*watched) {
			w[0].from = 3
			return h, w
		}, "but it starts at 3"},
		{"two watches differ", func(h []*attempt, w []*watched) ([]*attempt, []*watched) {
			w[1].events[1].value = "7"
			return h, w
		}, "another watch has"},
		{"a watch has what failed", func(h []*attempt, w []*watched) ([]*attempt, []*watched) {
			w[0].events = append(w[0].events, event{7, "b", "5"})
			w[1].events = append(w[1].events, event{7, "b", "5"})
			return h, w
		}, "failed by its answer"},
		{"a watch has what nobody sent", func(h []*attempt, w []*watched) ([]*attempt, []*watched) {
			w[0].events = append(w[0].events, event{7, "b", "77"})
			w[1].events = append(w[1].events, event{7, "b", "77"})
			return h, w
		}, "nobody sent"},
	} {
		h, w := rightHistory()
		h, w = c.plant(h, w)
		err := checkHistory(h, w, 7)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: found %v, not %q", c.name, err, c.want)
		}
	}
}

// A write whose answer was lost may happen after the check of its history, once.
func TestAWriteOfAnEarlierHistoryComesLate(t *testing.T) {
	h, w := rightHistory()
	h = append(h, &attempt{client: 1, kind: opPut, key: "a", value: "9", begin: 145, end: 146, outcome: unknown},
		&attempt{client: 1, kind: opDelete, key: "c", begin: 225, end: 226, outcome: unknown})
	if err := checkHistory(h, w, 6); err != nil {
		t.Fatal(err)
	}
	left := pending(h, w)
	if len(left) != 1 || left[0].value != "9" {
		t.Fatalf("pending: %v", left)
	}
	next := append(left, &attempt{client: 1, kind: opPut, key: "d", value: "10", begin: 300, end: 310, revision: 7})
	late := []*watched{{name: "x", from: 7, events: []event{{7, "d", "10"}, {8, "a", "9"}}}}
	if err := checkHistory(next, late, 8); err != nil {
		t.Fatal(err)
	}
	if left = pending(next, late); len(left) != 0 {
		t.Fatalf("pending: %v", left)
	}
	again := []*watched{{name: "x", from: 9, events: []event{{9, "a", "9"}}}}
	if err := checkHistory(left, again, 9); err == nil || !strings.Contains(err.Error(), "nobody sent") {
		t.Fatalf("written once more: %v", err)
	}
}

// Many writes with lost answers must not keep the search from its verdict.
func TestManyUnknownWritesAreDecided(t *testing.T) {
	var h []*attempt
	at := int64(1)
	for i := range 150 {
		value := strings.Repeat("v", i+1)
		h = append(h, &attempt{client: i, kind: opPut, key: "k", value: value, begin: at, end: at + 5, outcome: outcome(2 * (i % 2)), revision: int64(2+i/2) * int64(1-i%2)})
		at += 10
		if i%2 == 0 {
			h = append(h, &attempt{client: i, kind: opGet, key: "k", begin: at, end: at + 5, seen: value, mod: int64(2 + i/2), revision: int64(2 + i/2)})
			at += 10
		}
	}
	if err := checkLinear(h, 20*time.Second); err != nil {
		t.Fatal(err)
	}
}

// A client that is cut off retries a deletion for as long as the cut lasts, while others go on.
func TestManyUnknownDeletionsAreDecided(t *testing.T) {
	history := func() (h []*attempt) {
		at, revision := int64(1), int64(2)
		for i := range 40 {
			h = append(h, &attempt{client: 0, kind: opDelete, key: "k", begin: at, end: at + 9, outcome: unknown})
			for j := range 6 {
				h = append(h, &attempt{client: 1 + j, kind: opPut, key: "k", value: fmt.Sprint(i, j), begin: at + 1, end: at + 8, revision: revision})
				revision++
			}
			at += 10
		}
		// One of the 40 came through, and somebody saw it.
		return append(h, &attempt{client: 1, kind: opGet, key: "k", begin: at, end: at + 1, revision: revision},
			&attempt{client: 1, kind: opPut, key: "k", value: "last", begin: at + 2, end: at + 3, revision: revision + 1},
			&attempt{client: 2, kind: opGet, key: "k", begin: at + 4, end: at + 5, seen: "last", mod: revision + 1, revision: revision + 1})
	}
	if err := checkLinear(history(), 20*time.Second); err != nil {
		t.Fatal(err)
	}
	// Deletions explain an absence, and no value that is back.
	h := history()
	last := len(h) - 1
	h[last].seen, h[last].mod = "39 5", h[last].mod-2
	if err := checkLinear(h, 20*time.Second); err == nil || !strings.Contains(err.Error(), "no order") {
		t.Fatalf("a value that is back: %v", err)
	}
	// Nor does one that began later.
	h = history()[:280]
	for _, a := range h {
		if a.kind == opDelete {
			a.begin, a.end = a.begin+2000, a.end+2000
		}
	}
	h = append(h, &attempt{client: 1, kind: opGet, key: "k", begin: 1000, end: 1001, revision: 300})
	if err := checkLinear(h, 20*time.Second); err == nil || !strings.Contains(err.Error(), "no order") {
		t.Fatalf("absent before its deletion: %v", err)
	}
}

// What checkLinear leaves out must not change its verdict: small random histories, right ones and wrong ones, are given to the
// search as they are, too.
func TestWhatIsLeftOutChangesNoVerdict(t *testing.T) {
	whole := func(history []*attempt) bool {
		var ops []porcupine.Operation
		for _, a := range history {
			if a.outcome == unknown {
				ops = append(ops, porcupine.Operation{ClientId: len(ops), Input: a, Output: a, Call: a.begin, Return: math.MaxInt64})
			} else {
				ops = append(ops, porcupine.Operation{ClientId: len(ops), Input: a, Output: a, Call: a.begin, Return: a.end})
			}
		}
		return porcupine.CheckOperations(porcupine.Model{Init: func() any { return keyState{} }, Step: step,
			Equal: func(a, b any) bool { return a == b }}, ops)
	}
	rnd := rand.New(rand.NewSource(7))
	kinds := []opKind{opPut, opGet, opCas, opDelete, opDelete}
	verdicts := map[bool]int{}
	for range 20000 {
		var h []*attempt
		value, mod, revision := "", int64(0), int64(1)
		for i := range 3 + rnd.Intn(7) {
			at := int64(i * 10)
			a := &attempt{client: i, kind: kinds[rnd.Intn(len(kinds))], key: "k", begin: at - int64(rnd.Intn(25)), end: at + 1 + int64(rnd.Intn(25))}
			if a.kind == opPut || a.kind == opCas {
				a.value = fmt.Sprint("v", i)
			}
			if a.kind == opCas {
				a.expect = value
				if rnd.Intn(3) == 0 {
					a.expect = "v0"
				}
			}
			lost := a.kind != opGet && rnd.Intn(3) == 0
			if !lost || rnd.Intn(2) == 0 {
				a.seen, a.mod = value, mod
				switch {
				case a.kind == opPut || (a.kind == opCas && value == a.expect):
					revision++
					a.seen, a.mod, a.done = "", 0, a.kind == opCas
					value, mod = a.value, revision
				case a.kind == opDelete && value != "":
					revision++
					a.done = true
					value, mod = "", 0
				}
				a.revision = revision
			}
			if lost {
				a.outcome, a.done, a.seen, a.mod, a.revision = unknown, false, "", 0, 0
			}
			h = append(h, a)
		}
		if a := h[rnd.Intn(len(h))]; rnd.Intn(2) == 0 {
			if b := h[rnd.Intn(len(h))]; a.kind == opGet {
				a.seen, a.mod = b.value, b.revision
			} else {
				a.begin, a.end = a.begin+60, a.end+60
			}
		}
		want := whole(h)
		verdicts[want]++
		if got := checkLinear(h, time.Minute); (got == nil) != want {
			t.Fatalf("found %v, want an order: %v\n%s", got, want, list(h))
		}
	}
	if verdicts[true] < 2000 || verdicts[false] < 2000 {
		t.Fatalf("verdicts: %v", verdicts)
	}
}
