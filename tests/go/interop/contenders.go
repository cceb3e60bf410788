package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
)

// Contenders for one lock, of four kinds that meet on the same keys: the Lock and the Election service, and the
// client's own Mutex and Election. Whoever holds it writes fenceKey under the condition that its key is still the
// one it created; so the store's history tells whether ever one wrote who was not the oldest.
//
// Commands, one a line: `front` (the oldest keys, and what their contenders are at), `kill N` (so many contenders die as they are: their connections are cut, their leases run
// out; others take their places), `turns` (how often the lock was had so far), `finish`. Each is answered by `ok ...`.

const (
	fenceKey    = "fence"
	contestName = "contest"
)

var contenderKinds = []string{"lock", "campaign", "mutex", "election"}

type contest struct {
	endpoints []string
	ttl       int
	hold      time.Duration
	ctx       context.Context // ends when no more turns are wanted
	mu        sync.Mutex
	living    map[*contender]bool
	wg        sync.WaitGroup
	next      int
	rnd       *rand.Rand
	turns     [4]atomic.Int64
	errors    atomic.Int64
	leases    sync.Map     // contenders by lease
	expired   atomic.Int64 // sessions that ended under their contender
	fenced    atomic.Int64 // holders whose key had gone
	dead      sync.Map     // leases of those that were killed
}

type contender struct {
	*contest
	kind   int
	ctx    context.Context
	cancel context.CancelFunc
	killed atomic.Bool
	holds  atomic.Bool
	doing  atomic.Value // a string: what it is at
}

func runContenders(args []string) error {
	flags := flag.NewFlagSet("contenders", flag.ContinueOnError)
	endpoints := flags.String("endpoints", "", "of all members")
	count := flags.Int("contenders", 40, "at the same time")
	ttl := flags.Int("ttl", 3, "of their leases, in seconds")
	hold := flags.Duration("hold", 2*time.Millisecond, "how long one holds the lock")
	late := flags.Duration("late", 15*time.Second, "the longest that a turn may be on its way to a living contender")
	seed := flags.Int64("seed", 1, "of which kind each is, and who dies")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	c := &contest{endpoints: strings.Split(*endpoints, ","), ttl: *ttl, hold: *hold, ctx: ctx,
		living: map[*contender]bool{}, rnd: rand.New(rand.NewSource(*seed))}
	watch, err := c.watch()
	if err != nil {
		return err
	}
	for i := 0; i < *count; i++ {
		c.begin()
	}
	fmt.Println("ok")
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		words := strings.Fields(commands.Text())
		switch words[0] {
		case "kill":
			n, err := strconv.Atoi(words[1])
			if err != nil {
				return err
			}
			fmt.Println("ok", c.kill(n))
		case "turns":
			fmt.Println("ok", c.total())
		case "front":
			fmt.Println("ok", c.front())
		case "finish":
			stop()
			c.wg.Wait()
			report, err := watch.end(c, *late)
			if err != nil {
				fmt.Println("failed:", err)
				return err
			}
			fmt.Println("ok", report)
		default:
			return fmt.Errorf("no command %q", words[0])
		}
	}
	return nil
}

func (c *contest) front() string {
	client, err := c.client()
	if err != nil {
		return err.Error()
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	oldest, err := client.Get(ctx, contestName+"/", append(clientv3.WithFirstCreate(), clientv3.WithLimit(4))...)
	if err != nil {
		return err.Error()
	}
	text := fmt.Sprintf("%d keys at %d:", oldest.Count, oldest.Header.Revision)
	for _, kv := range oldest.Kvs {
		text += fmt.Sprintf(" %s created %d", kv.Key, kv.CreateRevision)
		if x, ok := c.leases.Load(kv.Lease); ok {
			x := x.(*contender)
			text += fmt.Sprintf(" (%s, killed %v, %v);", contenderKinds[x.kind], x.killed.Load(), x.doing.Load())
		}
	}
	return text
}

func (c *contest) total() int64 {
	var sum int64
	for i := range c.turns {
		sum += c.turns[i].Load()
	}
	return sum
}

func (c *contest) begin() {
	// A contender ends its turn, so that it leaves nothing behind, unless it is killed.
	ctx, cancel := context.WithCancel(context.Background())
	c.mu.Lock()
	defer c.mu.Unlock()
	// Half of them use the services, in turns, and half of each kind are of the Lock service.
	kind := []int{0, 1, 0, 2, 0, 3}[c.next%6]
	c.next++
	x := &contender{contest: c, kind: kind, ctx: ctx, cancel: cancel}
	c.living[x] = true
	c.wg.Add(1)
	go x.live()
}

// kill prefers one that holds the lock, if one does within a while.
func (c *contest) kill(n int) int {
	c.mu.Lock()
	for i := 0; i < 2000 && !c.held(); i++ {
		c.mu.Unlock()
		time.Sleep(500 * time.Microsecond)
		c.mu.Lock()
	}
	victims := make([]*contender, 0, len(c.living))
	for x := range c.living {
		victims = append(victims, x)
	}
	c.rnd.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
	sort.SliceStable(victims, func(i, j int) bool { return victims[i].holds.Load() && !victims[j].holds.Load() })
	victims = victims[:min(n, len(victims))]
	for _, x := range victims {
		delete(c.living, x)
	}
	c.mu.Unlock()
	for _, x := range victims {
		x.killed.Store(true)
		x.cancel()
	}
	for range victims {
		c.begin()
	}
	return len(victims)
}

func (c *contest) held() bool {
	for x := range c.living {
		if x.holds.Load() {
			return true
		}
	}
	return false
}

func (c *contest) client() (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: c.endpoints, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
}

// live takes turns until no more are wanted.
func (x *contender) live() {
	defer x.wg.Done()
	defer x.cancel()
	var c *clientv3.Client
	var session *concurrency.Session
	defer func() {
		if c == nil {
			return
		}
		if session != nil {
			if x.killed.Load() {
				x.dead.Store(int64(session.Lease()), true)
			} else {
				_ = session.Close()
			}
		}
		_ = c.Close()
	}()
	pause := func() { time.Sleep(50 * time.Millisecond) }
	for x.contest.ctx.Err() == nil && x.ctx.Err() == nil {
		if c == nil {
			made, err := x.client()
			if err != nil {
				pause()
				continue
			}
			c = made
		}
		if session == nil {
			made, err := concurrency.NewSession(c, concurrency.WithTTL(x.ttl), concurrency.WithContext(x.ctx))
			if err != nil {
				x.errors.Add(1)
				pause()
				continue
			}
			session = made
		}
		select {
		case <-session.Done():
			x.expired.Add(1)
			session = nil
			continue
		default:
		}
		if err := x.turn(c, session); err != nil && x.ctx.Err() == nil {
			x.errors.Add(1)
			x.doing.Store("failed: " + err.Error())
			pause()
		}
	}
}

// turn waits for the lock, writes under it, and gives it back.
func (x *contender) turn(c *clientv3.Client, session *concurrency.Session) error {
	ctx := x.ctx
	lease := int64(session.Lease())
	key := fmt.Sprintf("%s/%x", contestName, lease)
	var revision int64
	release := func() error { return nil }
	x.leases.Store(lease, x)
	x.doing.Store(fmt.Sprintf("asks since %s", time.Now().Format("15:04:05.000")))
	switch contenderKinds[x.kind] {
	case "lock":
		out, err := invoke(ctx, c.ActiveConnection(), lockMethod, lockRequest(contestName, lease))
		if err != nil {
			return err
		}
		f, err := parse(out)
		if err != nil || f.strings[2] != key {
			return fmt.Errorf("locked %q, not %q", f.strings[2], key)
		}
		release = func() error {
			_, err := invoke(ctx, c.ActiveConnection(), unlockMethod, lockMessage{}.bytes(1, key))
			return err
		}
	case "campaign":
		out, err := invoke(ctx, c.ActiveConnection(), campaignMethod, campaignRequest(contestName, lease, "v"))
		if err != nil {
			return err
		}
		f, err := parse(out)
		if err != nil {
			return err
		}
		leader, err := parse([]byte(f.strings[2]))
		if err != nil || leader.strings[2] != key {
			return fmt.Errorf("leads by %q, not %q", leader.strings[2], key)
		}
		revision = leader.numbers[3]
		release = func() error {
			_, err := invoke(ctx, c.ActiveConnection(), resignMethod, lockMessage{}.sub(1, leaderKey(contestName, key, revision, lease)))
			return err
		}
	case "mutex":
		m := concurrency.NewMutex(session, contestName)
		if err := m.Lock(ctx); err != nil {
			return err
		}
		release = func() error { return m.Unlock(ctx) }
	case "election":
		e := concurrency.NewElection(session, contestName)
		if err := e.Campaign(ctx, "v"); err != nil {
			return err
		}
		revision = e.Rev()
		release = func() error { return e.Resign(ctx) }
	}
	if revision == 0 {
		got, err := c.Get(ctx, key)
		if err != nil {
			return err
		}
		if len(got.Kvs) == 0 {
			x.fenced.Add(1)
			return nil
		}
		revision = got.Kvs[0].CreateRevision
	}
	x.holds.Store(true)
	defer x.holds.Store(false)
	x.doing.Store("holds it")
	for i := 0; i < 2; i++ {
		done, err := c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", revision)).
			Then(clientv3.OpPut(fenceKey, fmt.Sprintf("%s %d", key, revision))).Commit()
		if err != nil {
			return errors.Join(err, release())
		}
		if !done.Succeeded {
			x.fenced.Add(1)
			return nil
		}
		time.Sleep(x.hold)
	}
	x.turns[x.kind].Add(1)
	x.doing.Store("gives it back")
	return release()
}

// ---- the history ----

type happening struct {
	revision int64
	deleted  bool
	key      string
	value    string
	created  int64
	at       time.Time
}

type history struct {
	c      *clientv3.Client
	cancel context.CancelFunc
	mu     sync.Mutex
	all    []happening
	err    error
}

func (c *contest) watch() (*history, error) {
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &history{c: client, cancel: cancel}
	answers := client.Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithRev(1))
	go func() {
		for answer := range answers {
			h.mu.Lock()
			if err := answer.Err(); err != nil && ctx.Err() == nil {
				h.err = err
			}
			for _, e := range answer.Events {
				h.all = append(h.all, happening{e.Kv.ModRevision, e.Type == clientv3.EventTypeDelete, string(e.Kv.Key),
					string(e.Kv.Value), e.Kv.CreateRevision, time.Now()})
			}
			h.mu.Unlock()
		}
	}()
	return h, nil
}

// end waits until nothing of the contest is left, and checks the whole history.
func (h *history) end(c *contest, late time.Duration) (string, error) {
	defer h.c.Close()
	defer h.cancel()
	prefix := contestName + "/"
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.ttl)*time.Second+late)
	defer cancel()
	for {
		left, err := h.c.Get(ctx, prefix, clientv3.WithPrefix())
		if err == nil && left.Count == 0 {
			if h.last() >= left.Header.Revision {
				break
			}
			if _, err := h.c.Put(ctx, "end", ""); err != nil {
				return "", err
			}
		}
		if ctx.Err() != nil {
			return "", fmt.Errorf("keys that nobody keeps are still there: %v (%w)", left, ctx.Err())
		}
		time.Sleep(50 * time.Millisecond)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return "", h.err
	}
	return h.check(c, late)
}

func (h *history) last() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.all) == 0 {
		return 0
	}
	return h.all[len(h.all)-1].revision
}

func (h *history) check(c *contest, late time.Duration) (string, error) {
	prefix := contestName + "/"
	living := map[string]int64{} // keys by creation
	writes, owners := 0, 0
	var token int64
	front, since := "", time.Time{} // the oldest key, and since when
	told := true                    // it has written
	var longest, longestDead time.Duration
	longestKey := ""
	var waits []time.Duration
	isDead := func(key string) bool {
		lease, err := strconv.ParseInt(strings.TrimPrefix(key, prefix), 16, 64)
		_, dead := c.dead.Load(lease)
		return err == nil && dead
	}
	for _, e := range h.all {
		switch {
		case strings.HasPrefix(e.key, prefix) && e.deleted:
			if e.key == front && !told && isDead(e.key) {
				longestDead = max(longestDead, e.at.Sub(since))
			}
			delete(living, e.key)
		case strings.HasPrefix(e.key, prefix):
			living[e.key] = e.created
		case e.key == fenceKey:
			var key string
			var revision int64
			if _, err := fmt.Sscanf(e.value, "%s %d", &key, &revision); err != nil {
				return "", err
			}
			if living[key] != revision {
				return "", fmt.Errorf("revision %d: %s wrote, whose key of %d is %d", e.revision, key, revision, living[key])
			}
			for other, created := range living {
				if created < revision {
					return "", fmt.Errorf("two holders: at revision %d %s (created %d) wrote, while %s (created %d) was older",
						e.revision, key, revision, other, created)
				}
			}
			if revision < token {
				return "", fmt.Errorf("out of order: at revision %d %s (created %d) wrote after one created at %d", e.revision, key, revision, token)
			}
			if revision > token {
				owners++
			}
			token = revision
			writes++
			if key == front && !told {
				told = true
				wait := e.at.Sub(since)
				waits = append(waits, wait)
				if wait > longest {
					longest, longestKey = wait, key
				}
			}
		}
		oldest := ""
		for key, created := range living {
			if oldest == "" || created < living[oldest] {
				oldest = key
			}
		}
		if name := fmt.Sprint(oldest, living[oldest]); name != fmt.Sprint(front, living[front]) || oldest != front {
			front, since, told = oldest, e.at, oldest == ""
		}
	}
	if owners == 0 {
		return "", errors.New("nobody ever held the lock")
	}
	if longest > late {
		return "", fmt.Errorf("%s waited %v for a turn that was its own", longestKey, longest)
	}
	if bound := time.Duration(c.ttl)*time.Second + late; longestDead > bound {
		return "", fmt.Errorf("a dead contender stood in front for %v", longestDead)
	}
	sort.Slice(waits, func(i, j int) bool { return waits[i] < waits[j] })
	text := fmt.Sprintf("%d owners in order, %d writes;", owners, writes)
	for i, kind := range contenderKinds {
		text += fmt.Sprintf(" %s %d", kind, c.turns[i].Load())
	}
	return text + fmt.Sprintf("; errors %d, leases lost %d, fenced off %d; a turn reaches its owner in %v (median), %v at most; the dead stood in front %v at most",
		c.errors.Load(), c.expired.Load(), c.fenced.Load(), waits[len(waits)/2].Round(10*time.Microsecond), longest.Round(time.Millisecond),
		longestDead.Round(time.Millisecond)), nil
}
