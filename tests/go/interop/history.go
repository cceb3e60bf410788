package main

import (
	"fmt"
	"math"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

// The history of a cluster's clients, and what must hold of it. Nothing here talks to a cluster, so that histories
// with planted faults can be given to it (history_test.go).

type outcome int

const (
	succeeded outcome = iota
	failed            // surely without effect
	unknown           // may have happened, may yet happen
)

type opKind int

const (
	opPut opKind = iota
	opGet
	opCas // puts value if the key has the value expect
	opDelete
	opStale // a serializable read
)

// attempt is one request of one key as one client saw it. Values are never written twice, and "" is an absent key.
type attempt struct {
	client     int
	endpoint   string
	kind       opKind
	key        string
	value      string // to write
	expect     string
	begin, end int64 // ns since the load began
	outcome    outcome
	seen       string // the value a read, a refused cas or a delete met
	mod        int64  // its revision, if told
	done       bool   // a cas wrote, a delete removed something
	revision   int64  // of the store, in the answer; a write's own
	earlier    bool   // of a history that was checked before: a write that may yet happen
}

func (a *attempt) writes() bool {
	return a.kind == opPut || (a.kind == opCas && (a.done || a.outcome == unknown)) || (a.kind == opDelete && (a.done || a.outcome == unknown))
}

func (a *attempt) String() string {
	names := []string{"put", "get", "cas", "delete", "serializable get"}
	text := fmt.Sprintf("%.3f-%.3f s client %d at %s: %s %s", float64(a.begin)/1e9, float64(a.end)/1e9, a.client, a.endpoint, names[a.kind], a.key)
	if a.value != "" {
		text += fmt.Sprintf(" = %q", a.value)
	}
	if a.kind == opCas {
		text += fmt.Sprintf(" if %q", a.expect)
	}
	switch a.outcome {
	case failed:
		return text + ", failed"
	case unknown:
		return text + ", unknown"
	}
	if a.kind != opPut {
		text += fmt.Sprintf(", saw %q of %d", a.seen, a.mod)
	}
	return text + fmt.Sprintf(", done %v, revision %d", a.done || a.kind == opPut, a.revision)
}

// keyState is one key in the model. mod is the revision of the last change; if it is not exact (a write whose answer
// was lost), the true one is at least that.
type keyState struct {
	value string
	mod   int64
	exact bool
}

// written is the state after a write with that revision (0: not known).
func (s keyState) written(value string, revision int64) (bool, keyState) {
	if revision == 0 {
		return true, keyState{value, s.mod + 1, false}
	}
	return revision > s.mod || (revision == s.mod && !s.exact), keyState{value, revision, true}
}

// saw compares a read with the state, and takes over the revision it tells.
func (s keyState) saw(value string, mod int64) (bool, keyState) {
	if value != s.value {
		return false, s
	}
	if value == "" || mod == 0 {
		return true, s
	}
	if s.exact {
		return mod == s.mod, s
	}
	return mod >= s.mod, keyState{value, mod, true}
}

func step(state, input, _ any) (bool, any) {
	s, a := state.(keyState), input.(*attempt)
	if a.outcome == unknown {
		// Linearized at the end of time if it never happened.
		switch a.kind {
		case opPut:
			_, s = s.written(a.value, 0)
		case opCas:
			if s.value == a.expect {
				_, s = s.written(a.value, 0)
			}
		case opDelete:
			if s.value != "" {
				_, s = s.written("", 0)
			}
		}
		return true, s
	}
	switch a.kind {
	case opPut:
		ok, next := s.written(a.value, a.revision)
		return ok, next
	case opCas:
		if !a.done {
			ok, next := s.saw(a.seen, a.mod)
			return ok && s.value != a.expect, next
		}
		ok, next := s.written(a.value, a.revision)
		return ok && s.value == a.expect, next
	case opDelete:
		ok, next := s.saw(a.seen, a.mod)
		if !ok || (a.seen != "") != a.done {
			return false, s
		}
		if !a.done {
			return true, next
		}
		ok, next = next.written("", a.revision)
		return ok, next
	}
	ok, next := s.saw(a.seen, a.mod)
	// A read told the store's revision, which no change it did not see can be below.
	return ok && a.revision >= next.mod, next
}

// absences counts the requests of one key that found it absent. met are the values that somebody saw.
func absences(requests []*attempt, met map[string]bool) int {
	n := 0
	for _, a := range requests {
		switch {
		case a.outcome == unknown:
			if a.kind == opCas && a.expect == "" && met[a.value] {
				n++
			}
		case a.kind == opCas && a.done:
			if a.expect == "" {
				n++
			}
		case a.kind != opPut && a.seen == "":
			n++
		}
	}
	return n
}

// checkLinear looks for an order of the requests of each key that explains every answer. A write whose answer was
// lost and whose value nobody saw is left out: without it, whatever order explains the rest still does. So it is with
// deletions whose answers were lost, of which no more can matter than there are requests that found the key absent. They are
// all alike, and the one that began first can stand wherever another one can: those that began first are kept.
func checkLinear(history []*attempt, limit time.Duration) error {
	keys := map[string][]*attempt{}
	for _, a := range history {
		if a.kind != opStale && a.outcome != failed && !a.earlier {
			keys[a.key] = append(keys[a.key], a)
		}
	}
	names := make([]string, 0, len(keys))
	for name := range keys {
		names = append(names, name)
	}
	sort.Strings(names)
	deadline := time.Now().Add(limit)
	model := porcupine.Model{Init: func() any { return keyState{} }, Step: step,
		Equal: func(a, b any) bool { return a == b }}
	for _, name := range names {
		met := map[string]bool{}
		for _, a := range keys[name] {
			if a.outcome == succeeded {
				met[a.seen] = true
				if a.kind == opCas && a.done {
					met[a.expect] = true
				}
			}
		}
		for more := true; more; { // a cas that somebody saw the effect of has seen what it expected
			more = false
			for _, a := range keys[name] {
				if a.outcome == unknown && a.kind == opCas && met[a.value] && !met[a.expect] {
					met[a.expect], more = true, true
				}
			}
		}
		deletions := absences(keys[name], met)
		sort.SliceStable(keys[name], func(i, j int) bool { return keys[name][i].begin < keys[name][j].begin })
		var ops []porcupine.Operation
		for _, a := range keys[name] {
			if a.outcome == unknown && a.kind == opGet {
				continue
			}
			if a.outcome == unknown && a.kind == opDelete {
				if deletions == 0 {
					continue
				}
				deletions--
			}
			if a.outcome == unknown && a.kind != opDelete && !met[a.value] {
				continue
			}
			end := a.end
			if a.outcome == unknown {
				end = math.MaxInt64
			}
			ops = append(ops, porcupine.Operation{ClientId: len(ops), Input: a, Output: a, Call: a.begin, Return: end})
		}
		switch porcupine.CheckOperationsTimeout(model, ops, max(time.Until(deadline), time.Second)) {
		case porcupine.Illegal:
			return fmt.Errorf("no order of the requests of %s explains their answers:\n%s", name, list(keys[name]))
		case porcupine.Unknown:
			return fmt.Errorf("%s: no verdict in time on %d requests:\n%s", name, len(ops), list(keys[name]))
		}
	}
	return nil
}

func list(history []*attempt) string {
	text := ""
	for i, a := range history {
		if i == 400 {
			return text + "    ...\n"
		}
		text += "    " + a.String() + "\n"
	}
	return text
}

// checkRevisions: across all keys, a request that began after another had ended has no lower revision; for a write it
// is higher. Two members that both acknowledge writes as leaders, or a linearizable read that is behind, show here.
func checkRevisions(history []*attempt) error {
	type point struct {
		at    int64
		begin bool
		a     *attempt
	}
	var points []point
	owner := map[int64]*attempt{}
	for _, a := range history {
		if a.outcome != succeeded || a.kind == opStale || a.revision == 0 {
			continue
		}
		if a.writes() {
			// Writes of one transaction share revision and answer; they begin together.
			if other := owner[a.revision]; other != nil && (other.client != a.client || other.begin != a.begin) {
				return fmt.Errorf("revision %d was given to two writes:\n    %s\n    %s", a.revision, other, a)
			}
			owner[a.revision] = a
		}
		points = append(points, point{a.begin, true, a}, point{a.end, false, a})
	}
	// What happens at one instant counts as side by side: begins come first.
	sort.SliceStable(points, func(i, j int) bool {
		return points[i].at < points[j].at || (points[i].at == points[j].at && points[i].begin && !points[j].begin)
	})
	var last *attempt
	needs := map[*attempt]*attempt{}
	for _, p := range points {
		if p.begin {
			needs[p.a] = last
			continue
		}
		before := needs[p.a]
		delete(needs, p.a)
		if before != nil && (before.revision > p.a.revision || (p.a.writes() && before.revision == p.a.revision)) {
			return fmt.Errorf("revisions went back: after\n    %s\ncame\n    %s", before, p.a)
		}
		if last == nil || p.a.revision > last.revision {
			last = p.a
		}
	}
	return nil
}

// checkStale: a serializable read may be old, but shows what somebody wrote there.
func checkStale(history []*attempt) error {
	written := map[string]map[string]bool{}
	for _, a := range history {
		if a.outcome != failed && (a.kind == opPut || a.kind == opCas) {
			if written[a.key] == nil {
				written[a.key] = map[string]bool{}
			}
			written[a.key][a.value] = true
		}
	}
	for _, a := range history {
		if a.kind == opStale && a.outcome == succeeded && a.seen != "" {
			if !written[a.key][a.seen] {
				return fmt.Errorf("a value that nobody wrote:\n    %s", a)
			}
			if a.mod > a.revision {
				return fmt.Errorf("a change beyond the revision told with it:\n    %s", a)
			}
		}
	}
	return nil
}

// event is what a watch delivered.
type event struct {
	revision int64
	key      string
	value    string // "" is a deletion
}

// watched is all that one watch delivered, and the gaps it was told of (a cancellation with a compact revision).
type watched struct {
	name   string
	from   int64 // every event from here on
	events []event
	gaps   [][2]int64 // revisions from, below
}

func (w *watched) told(revision int64) bool {
	if revision < w.from {
		return true
	}
	for _, g := range w.gaps {
		if g[0] <= revision && revision < g[1] {
			return true
		}
	}
	return false
}

// checkWatches: every watch is ordered, has nothing twice, and has every event up to the revision `until`, where the
// events are those that any watch has; each acknowledged write is among them at its revision, and nothing that
// failed or that nobody sent.
func checkWatches(all []*watched, history []*attempt, until int64) error {
	type place struct {
		revision int64
		key      string
	}
	truth := map[place]string{}
	for _, w := range all {
		before := event{}
		inOne := map[string]bool{}
		for _, e := range w.events {
			if e.revision < before.revision {
				return fmt.Errorf("watch %s: revision %d after %d", w.name, e.revision, before.revision)
			}
			if e.revision != before.revision {
				inOne = map[string]bool{}
			}
			if inOne[e.key] {
				return fmt.Errorf("watch %s: %s at revision %d twice", w.name, e.key, e.revision)
			}
			inOne[e.key] = true
			if e.revision < w.from {
				return fmt.Errorf("watch %s: revision %d, but it starts at %d", w.name, e.revision, w.from)
			}
			at := place{e.revision, e.key}
			if value, there := truth[at]; there && value != e.value {
				return fmt.Errorf("watch %s: %s at revision %d is %q, another watch has %q", w.name, e.key, e.revision, e.value, value)
			}
			truth[at] = e.value
			before = e
		}
	}
	for at := range truth {
		for _, w := range all {
			if at.revision > until || w.told(at.revision) {
				continue
			}
			i := sort.Search(len(w.events), func(i int) bool { return w.events[i].revision >= at.revision })
			found := false
			for ; i < len(w.events) && w.events[i].revision == at.revision && !found; i++ {
				found = w.events[i].key == at.key
			}
			if !found {
				return fmt.Errorf("watch %s misses %s at revision %d", w.name, at.key, at.revision)
			}
		}
	}
	lowest := int64(math.MaxInt64)
	var whole *watched
	for _, w := range all {
		if len(w.gaps) == 0 && w.from < lowest {
			lowest, whole = w.from, w
		}
	}
	senders := map[string]*attempt{}
	for _, a := range history {
		if a.kind == opPut || a.kind == opCas {
			senders[a.key+"\x00"+a.value] = a
		}
		if whole == nil || a.outcome != succeeded || !a.writes() || a.revision < lowest || a.revision > until {
			continue
		}
		want := a.value
		if a.kind == opDelete {
			want = ""
		}
		if value, there := truth[place{a.revision, a.key}]; !there || value != want {
			return fmt.Errorf("acknowledged, but no watch has it (there: %v, %q):\n    %s", there, value, a)
		}
	}
	told := map[*attempt]int64{}
	for at, value := range truth {
		if value == "" {
			continue
		}
		a := senders[at.key+"\x00"+value]
		if a != nil && a.outcome == unknown {
			if other := told[a]; other != 0 {
				return fmt.Errorf("written twice, at revisions %d and %d:\n    %s", min(other, at.revision), max(other, at.revision), a)
			}
			told[a] = at.revision
		}
		switch {
		case a == nil:
			return fmt.Errorf("a watch delivered %s = %q at revision %d, which nobody sent", at.key, value, at.revision)
		case a.outcome == failed || (a.kind == opCas && a.outcome == succeeded && !a.done):
			return fmt.Errorf("failed by its answer, but a watch has it at revision %d:\n    %s", at.revision, a)
		case a.outcome == succeeded && a.revision != at.revision:
			return fmt.Errorf("a watch has it at revision %d:\n    %s", at.revision, a)
		}
	}
	return nil
}

// pending are the writes that no watch has told of and that may yet happen. A message between members can wait for half a
// minute and more behind a link that was cut, and a proposal in it is carried out then, long after its client has given up.
// Deletions are not among them: an event does not say whose deletion it is.
func pending(history []*attempt, watches []*watched) []*attempt {
	told := map[string]bool{}
	for _, w := range watches {
		for _, e := range w.events {
			told[e.key+"\x00"+e.value] = true
		}
	}
	var left []*attempt
	for _, a := range history {
		if a.outcome == unknown && (a.kind == opPut || a.kind == opCas) && !told[a.key+"\x00"+a.value] {
			late := *a
			late.earlier = true
			left = append(left, &late)
		}
	}
	return left
}

func checkHistory(history []*attempt, watches []*watched, until int64) error {
	if err := checkRevisions(history); err != nil {
		return err
	}
	if err := checkStale(history); err != nil {
		return err
	}
	if err := checkWatches(watches, history, until); err != nil {
		return err
	}
	return checkLinear(history, 2*time.Minute)
}
