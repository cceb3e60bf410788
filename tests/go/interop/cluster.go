package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// cluster is a load on all members of a cluster that remembers everything it was told, while a driver kills, cuts
// and replaces members below. Each client retries a request, at another member each time, until it succeeds or its
// time is over; each try is one attempt of the history. Lines on standard input, each answered with `ok ...`:
//
//	run                      clients go on
//	pause                    clients stop, each after its request
//	endpoints HOST:PORT,...  the members from now on; watches at others end
//	mark                     note this moment
//	outage N                 wait until N writes that began after the mark were acknowledged; answers `ok MS MEDIAN`: the
//	                         longest time since the mark without an acknowledged write, the median time of a write
//	stats                    answers `ok REQUESTS FAILED ATTEMPTS_FAILED ATTEMPTS_UNKNOWN` since the last stats
//	compact                  compact to what all watches have
//	fill N                   wait until N more writes were acknowledged
//	check                    pause and compare all that was seen since the check before; answers
//	                         `ok REVISION ATTEMPTS ACKNOWLEDGED UNKNOWN EVENTS LEASES`
type clusterLoad struct {
	begin    time.Time
	attempt  time.Duration // time of one attempt
	request  time.Duration // time of a request with all its attempts
	think    time.Duration
	watching bool

	gate   sync.RWMutex // clients hold it while a request is under way
	paused bool
	turn   *sync.Cond
	turnMu sync.Mutex

	mu        sync.Mutex
	endpoints []string // the last entry of a choice is all of them
	clients   map[string]*clientv3.Client
	slots     []slot
	names     int
	history   []*attempt
	acked     int
	mark      time.Time
	acks      []time.Time // of writes, since the mark
	begun     int         // of those, begun after the mark
	took      []time.Duration
	requests  int
	lost      int // requests that did not succeed in time
	failed    int
	unknown   int
	watches   map[string]*watcher
	from      int64 // watches made from now on begin here
	violation error
	leases    int
	gone      []clientv3.LeaseID // left alone, and due to end

	unique atomic.Int64
}

// slot is a place for one key at a time: after some requests a new key follows, so that no key's history gets long.
type slot struct {
	key   string
	count int
	last  string // a value that may be the current one
}

const (
	keyRequests = 120
	leaseTTL    = 5
)

func (l *clusterLoad) now() int64 { return int64(time.Since(l.begin)) }

func (l *clusterLoad) violate(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.violation == nil {
		l.violation = fmt.Errorf(format, args...)
	}
}

// client is a stock client of one member or, for a list, of all.
func (l *clusterLoad) client(endpoint string) (*clientv3.Client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.clients[endpoint]; c != nil {
		return c, nil
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: strings.Split(endpoint, ","), TLS: clientTLS(), Logger: zap.NewNop(),
		DialKeepAliveTime: 2 * time.Second, DialKeepAliveTimeout: 2 * time.Second,
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second,
			Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond}})}})
	if err == nil {
		l.clients[endpoint] = c
	}
	return c, err
}

// choice is the endpoint of a client's n-th try: its own member first, and every so often a client of all members.
func (l *clusterLoad) choice(id, n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := (id + n) % (len(l.endpoints) + 1)
	if i == len(l.endpoints) {
		return strings.Join(l.endpoints, ",")
	}
	return l.endpoints[i]
}

// settled tells the errors after which a request surely has no effect.
func settled(err error) bool {
	s := status.Convert(err)
	switch s.Code() {
	case codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition, codes.OutOfRange, codes.ResourceExhausted:
		return true
	case codes.Unavailable:
		return strings.Contains(s.Message(), "connection refused")
	}
	return false
}

// plan draws the next request; pair gives a second key that is written in the same transaction.
func (l *clusterLoad) plan(rnd *rand.Rand) (a attempt, pair string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	pick := func() *slot {
		s := &l.slots[rnd.Intn(len(l.slots))]
		if s.key == "" || s.count >= keyRequests {
			l.names++
			*s = slot{key: fmt.Sprintf("c/%06d", l.names)}
		}
		s.count++
		return s
	}
	s := pick()
	a.key, a.expect = s.key, s.last
	switch n := rnd.Intn(100); {
	case n < 35:
		a.kind = opPut
		if n < 10 {
			if other := pick(); other.key != s.key {
				pair = other.key
			}
		}
	case n < 60:
		a.kind = opCas
	case n < 65:
		a.kind = opDelete
	case n < 75:
		a.kind = opStale
	default:
		a.kind = opGet
	}
	return a, pair
}

// try makes one attempt.
func (l *clusterLoad) try(c *clientv3.Client, a *attempt, pair *attempt) error {
	ctx, cancel := context.WithTimeout(context.Background(), l.attempt)
	defer cancel()
	sees := func(r *clientv3.GetResponse) {
		a.revision = r.Header.Revision
		if len(r.Kvs) == 1 {
			a.seen, a.mod = string(r.Kvs[0].Value), r.Kvs[0].ModRevision
		}
	}
	switch a.kind {
	case opPut:
		ops := []clientv3.Op{clientv3.OpPut(a.key, a.value)}
		if pair != nil {
			ops = append(ops, clientv3.OpPut(pair.key, pair.value))
			r, err := c.Txn(ctx).Then(ops...).Commit()
			if err != nil {
				return err
			}
			a.revision, pair.revision = r.Header.Revision, r.Header.Revision
			return nil
		}
		r, err := c.Put(ctx, a.key, a.value)
		if err != nil {
			return err
		}
		a.revision = r.Header.Revision
	case opCas:
		condition := clientv3.Compare(clientv3.Value(a.key), "=", a.expect)
		if a.expect == "" {
			condition = clientv3.Compare(clientv3.ModRevision(a.key), "=", 0)
		}
		r, err := c.Txn(ctx).If(condition).Then(clientv3.OpPut(a.key, a.value)).Else(clientv3.OpGet(a.key)).Commit()
		if err != nil {
			return err
		}
		a.done, a.revision = r.Succeeded, r.Header.Revision
		if !r.Succeeded {
			if kvs := r.Responses[0].GetResponseRange().Kvs; len(kvs) == 1 {
				a.seen, a.mod = string(kvs[0].Value), kvs[0].ModRevision
			}
		}
	case opDelete:
		r, err := c.Delete(ctx, a.key, clientv3.WithPrevKV())
		if err != nil {
			return err
		}
		a.done, a.revision = r.Deleted == 1, r.Header.Revision
		if a.done {
			a.seen, a.mod = string(r.PrevKvs[0].Value), r.PrevKvs[0].ModRevision
		}
	case opGet:
		r, err := c.Get(ctx, a.key)
		if err != nil {
			return err
		}
		sees(r)
	case opStale:
		r, err := c.Get(ctx, a.key, clientv3.WithSerializable())
		if err != nil {
			return err
		}
		sees(r)
	}
	return nil
}

// one is a request with its retries.
func (l *clusterLoad) one(id int, rnd *rand.Rand) {
	plan, second := l.plan(rnd)
	deadline := time.Now().Add(l.request)
	for n := 0; ; n++ {
		endpoint := l.choice(id, n)
		c, err := l.client(endpoint)
		if err != nil {
			l.violate("client of %s: %v", endpoint, err)
			return
		}
		a := plan
		a.client, a.endpoint, a.value = id, endpoint, ""
		if a.kind == opPut || a.kind == opCas {
			a.value = fmt.Sprintf("%d-%d", id, l.unique.Add(1))
		}
		var pair *attempt
		if second != "" {
			pair = &attempt{client: id, endpoint: endpoint, kind: opPut, key: second, value: fmt.Sprintf("%d-%d", id, l.unique.Add(1))}
		}
		a.begin = l.now()
		err = l.try(c, &a, pair)
		a.end = l.now()
		if err != nil {
			a.outcome = unknown
			if settled(err) || a.kind == opGet || a.kind == opStale {
				a.outcome = failed
			}
		}
		l.record(&a, pair, err)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			l.mu.Lock()
			l.lost++
			l.mu.Unlock()
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (l *clusterLoad) record(a, pair *attempt, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history = append(l.history, a)
	if pair != nil {
		pair.begin, pair.end, pair.outcome = a.begin, a.end, a.outcome
		l.history = append(l.history, pair)
	}
	if err != nil {
		if a.outcome == failed {
			l.failed++
		} else {
			l.unknown++
		}
		return
	}
	l.requests++
	for i := range l.slots {
		s := &l.slots[i]
		if s.key != a.key {
			continue
		}
		switch {
		case a.kind == opPut || (a.kind == opCas && a.done):
			s.last = a.value
		case a.kind != opStale:
			s.last = a.seen
		}
		if a.kind == opDelete {
			s.last = ""
		}
	}
	if a.writes() {
		l.acked++
		begun := l.begin.Add(time.Duration(a.begin))
		if !l.mark.IsZero() {
			l.acks = append(l.acks, l.begin.Add(time.Duration(a.end)))
			l.took = append(l.took, time.Duration(a.end-a.begin))
			if begun.After(l.mark) {
				l.begun++
			}
		}
	}
}

func (l *clusterLoad) await() {
	l.turnMu.Lock()
	for l.paused {
		l.turn.Wait()
	}
	l.turnMu.Unlock()
}

func (l *clusterLoad) worker(id int, seed int64) {
	rnd := rand.New(rand.NewSource(seed))
	for {
		l.await()
		l.gate.RLock()
		if !l.isPaused() {
			l.one(id, rnd)
		}
		l.gate.RUnlock()
		time.Sleep(l.think/2 + time.Duration(rnd.Int63n(int64(l.think)+1)))
	}
}

func (l *clusterLoad) isPaused() bool {
	l.turnMu.Lock()
	defer l.turnMu.Unlock()
	return l.paused
}

func (l *clusterLoad) setPaused(p bool) {
	l.turnMu.Lock()
	l.paused = p
	l.turnMu.Unlock()
	if p {
		l.gate.Lock() // all are done with their requests
		l.gate.Unlock()
	} else {
		l.turn.Broadcast()
	}
}

// leaseClient keeps one lease for a while and then leaves it. Until a TTL after a renewal was sent that was answered,
// the key of the lease must be there.
func (l *clusterLoad) leaseClient(id int, seed int64) {
	rnd := rand.New(rand.NewSource(seed))
	n := 0
	get := func(do func(ctx context.Context, c *clientv3.Client) error) error {
		n++
		c, err := l.client(l.choice(id, n))
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), l.attempt)
		defer cancel()
		return do(ctx, c)
	}
	for round := 0; ; round++ {
		l.await()
		var lease clientv3.LeaseID
		var valid time.Time
		key := fmt.Sprintf("l/%d/%d", id, round)
		sent := time.Now()
		err := get(func(ctx context.Context, c *clientv3.Client) error {
			g, err := c.Grant(ctx, leaseTTL)
			if err == nil {
				lease, valid = g.ID, sent.Add(leaseTTL*time.Second)
			}
			return err
		})
		if err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		put := false
		until := time.Now().Add(time.Duration(rnd.Intn(15000)) * time.Millisecond)
		for time.Now().Before(until) || !put {
			if time.Now().After(valid) {
				break // nothing is promised any more
			}
			if !put {
				put = get(func(ctx context.Context, c *clientv3.Client) error {
					_, err := c.Put(ctx, key, "x", clientv3.WithLease(lease))
					return err
				}) == nil
				continue
			}
			sent = time.Now()
			if err := get(func(ctx context.Context, c *clientv3.Client) error { _, err := c.KeepAliveOnce(ctx, lease); return err }); err == nil {
				valid = sent.Add(leaseTTL * time.Second)
			}
			found := true
			err := get(func(ctx context.Context, c *clientv3.Client) error {
				r, err := c.Get(ctx, key)
				found = err != nil || len(r.Kvs) == 1
				return err
			})
			if err == nil && !found && time.Now().Before(valid) {
				l.violate("lease %x ended %s before its time", lease, time.Until(valid))
			}
			time.Sleep(300 * time.Millisecond)
		}
		l.mu.Lock()
		l.leases++
		l.gone = append(l.gone, lease)
		l.mu.Unlock()
	}
}

func (l *clusterLoad) command(w []string) (string, error) {
	switch {
	case w[0] == "run":
		l.setPaused(false)
	case w[0] == "pause":
		l.setPaused(true)
	case w[0] == "endpoints" && len(w) == 2:
		l.setEndpoints(w[1])
	case w[0] == "mark":
		l.mu.Lock()
		l.mark, l.acks, l.took, l.begun = time.Now(), nil, nil, 0
		l.mu.Unlock()
	case w[0] == "outage" && len(w) == 2:
		return l.outage(w[1])
	case w[0] == "stats":
		l.mu.Lock()
		defer l.mu.Unlock()
		text := fmt.Sprintf("%d %d %d %d", l.requests, l.lost, l.failed, l.unknown)
		l.requests, l.lost, l.failed, l.unknown = 0, 0, 0, 0
		return text, nil
	case w[0] == "compact":
		return "", l.compact()
	case w[0] == "fill" && len(w) == 2:
		return "", l.fill(w[1])
	case w[0] == "check":
		return l.check()
	default:
		return "", fmt.Errorf("what is %v?", w)
	}
	return "", nil
}

func (l *clusterLoad) outage(word string) (string, error) {
	n, err := strconv.Atoi(word)
	if err != nil {
		return "", err
	}
	deadline := time.Now().Add(100 * time.Second)
	for {
		l.mu.Lock()
		if l.begun >= n {
			longest, last := time.Duration(0), l.mark
			for _, at := range l.acks {
				// Clients end in an order that is not the order of the list.
				if at.After(last) {
					longest = max(longest, at.Sub(last))
					last = at
				}
			}
			took := append([]time.Duration{}, l.took...)
			l.mark = time.Time{}
			l.mu.Unlock()
			return fmt.Sprintf("%d %d", longest.Milliseconds(), median(took).Microseconds()), nil
		}
		l.mu.Unlock()
		if time.Now().After(deadline) {
			return "", errors.New("no writes any more")
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[len(d)/2]
}

func (l *clusterLoad) fill(word string) error {
	n, err := strconv.Atoi(word)
	if err != nil {
		return err
	}
	l.mu.Lock()
	want := l.acked + n
	l.mu.Unlock()
	for deadline := time.Now().Add(100 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		l.mu.Lock()
		acked := l.acked
		l.mu.Unlock()
		if acked >= want {
			return nil
		}
	}
	return errors.New("the writes did not come")
}

func (l *clusterLoad) compact() error {
	lowest := int64(0)
	for _, w := range l.copyWatches() {
		w.mu.Lock()
		if lowest == 0 || w.seen < lowest {
			lowest = w.seen
		}
		w.mu.Unlock()
	}
	if lowest <= 1 {
		return nil
	}
	err := l.eventually("a compaction", time.Minute, func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Compact(ctx, lowest)
		if err != nil && strings.Contains(err.Error(), "compacted") {
			return nil
		}
		return err
	})
	if err == nil {
		l.mu.Lock()
		l.from = max(l.from, lowest+1)
		l.mu.Unlock()
	}
	return err
}

func runCluster(args []string) error {
	flags := flag.NewFlagSet("cluster", flag.ExitOnError)
	endpoints := flags.String("endpoints", "", "HOST:PORT,...")
	workers := flags.Int("clients", 12, "clients")
	leases := flags.Int("leases", 2, "clients that keep a lease")
	keys := flags.Int("keys", 16, "keys in use at a time")
	seed := flags.Int64("seed", 1, "seed")
	l := &clusterLoad{begin: time.Now(), clients: map[string]*clientv3.Client{}, watches: map[string]*watcher{}, from: 1, paused: true}
	flags.DurationVar(&l.attempt, "attempt", 2*time.Second, "time of one try")
	flags.DurationVar(&l.request, "request", 15*time.Second, "time of a request with its retries")
	flags.DurationVar(&l.think, "think", 4*time.Millisecond, "pause of a client between two requests")
	flags.BoolVar(&l.watching, "watch", true, "watch at every member")
	_ = flags.Parse(args)
	l.turn = sync.NewCond(&l.turnMu)
	l.slots = make([]slot, *keys)
	l.setEndpoints(*endpoints)
	for i := range *workers {
		go l.worker(i, *seed*1000+int64(i))
	}
	for i := range *leases {
		go l.leaseClient(i, *seed*1000+500+int64(i))
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		text, err := l.command(strings.Fields(in.Text()))
		if err != nil {
			fmt.Println("error:", err)
			return err
		}
		fmt.Println("ok", text)
	}
	return in.Err()
}
