package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// The request pattern of a Kubernetes API server: objects are created, updated and deleted by txns on their
// mod_revision, lists are read in pages at one revision, and a watch cache per resource follows the store from the
// revision of its list, asks for progress when a consistent read waits, and starts anew from a list when compaction
// overtook it. Events are put with a lease that some of them share, and vanish when it ends. Compaction runs underneath. At any revision that the cache says it has reached, it must hold exactly
// what a list at that revision returns.
type apiServer struct {
	c         *clientv3.Client
	resources []string
	writes    atomic.Int64
	conflicts atomic.Int64
	lists     atomic.Int64
	restarts  atomic.Int64
	events    atomic.Int64
	revision  atomic.Int64
	granted   atomic.Int64

	leaseMu sync.Mutex
	lease   eventLease
}

// eventLease is one that events share for a while.
type eventLease struct {
	id      clientv3.LeaseID
	granted time.Time
}

const (
	eventTTL    = 4 * time.Second // an API server says an hour
	eventsShare = time.Second
)

// forEvent is the lease for the next event.
func (a *apiServer) forEvent(ctx context.Context) (eventLease, error) {
	a.leaseMu.Lock()
	defer a.leaseMu.Unlock()
	if time.Since(a.lease.granted) > eventsShare {
		granted := time.Now()
		resp, err := a.c.Grant(ctx, int64(eventTTL/time.Second))
		if err != nil {
			return eventLease{}, err
		}
		a.lease = eventLease{resp.ID, granted}
		a.granted.Add(1)
	}
	return a.lease, nil
}

func (a *apiServer) seen(revision int64) {
	for {
		now := a.revision.Load()
		if revision <= now || a.revision.CompareAndSwap(now, revision) {
			return
		}
	}
}

func (a *apiServer) object(rnd *rand.Rand) string {
	return fmt.Sprintf("/registry/%s/ns%d/object%03d", a.resources[rnd.Intn(len(a.resources))], rnd.Intn(3), rnd.Intn(80))
}

// write is one create, update or delete; which, follows from what is there.
func (a *apiServer) write(ctx context.Context, rnd *rand.Rand, body string) error {
	key := a.object(rnd)
	got, err := a.c.Get(ctx, key)
	if err != nil {
		return err
	}
	expected := int64(0)
	if len(got.Kvs) == 1 {
		expected = got.Kvs[0].ModRevision
	}
	compare := clientv3.Compare(clientv3.ModRevision(key), "=", expected)
	op := clientv3.OpPut(key, body)
	var lease eventLease
	if strings.HasPrefix(key, "/registry/events/") {
		var err error
		if lease, err = a.forEvent(ctx); err != nil {
			return err
		}
		op = clientv3.OpPut(key, body, clientv3.WithLease(lease.id))
	}
	if expected != 0 && rnd.Intn(4) == 0 {
		op = clientv3.OpDelete(key)
	}
	txn := a.c.Txn(ctx).If(compare).Then(op)
	if expected != 0 {
		txn = txn.Else(clientv3.OpGet(key))
	}
	resp, err := txn.Commit()
	if errors.Is(err, rpctypes.ErrLeaseNotFound) && time.Since(lease.granted) > eventTTL {
		return nil // this program was held up for that long
	}
	if err != nil {
		return err
	}
	a.seen(resp.Header.Revision)
	if !resp.Succeeded {
		a.conflicts.Add(1)
		if expected != 0 {
			now := resp.Responses[0].GetResponseRange().Kvs
			if len(now) == 1 && now[0].ModRevision == expected {
				return fmt.Errorf("%s: a txn on mod_revision %d was refused, and returns that revision", key, expected)
			}
		}
		return nil
	}
	a.writes.Add(1)
	return nil
}

// list reads all objects under a prefix in pages at the revision of the first page (or the one given).
func (a *apiServer) list(ctx context.Context, prefix string, revision int64, page int64) (map[string]*mvccpb.KeyValue, int64, error) {
	a.lists.Add(1)
	out := map[string]*mvccpb.KeyValue{}
	key := prefix
	var total int64
	for {
		options := []clientv3.OpOption{clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)), clientv3.WithLimit(page)}
		if revision != 0 {
			options = append(options, clientv3.WithRev(revision))
		}
		resp, err := a.c.Get(ctx, key, options...)
		if err != nil {
			return nil, 0, err
		}
		if revision == 0 {
			revision = resp.Header.Revision
		}
		if key == prefix {
			total = resp.Count
		}
		if resp.More != (resp.Count > int64(len(resp.Kvs))) {
			return nil, 0, fmt.Errorf("a page of %d keys, count %d, more %v", len(resp.Kvs), resp.Count, resp.More)
		}
		for _, kv := range resp.Kvs {
			if kv.ModRevision > revision {
				return nil, 0, fmt.Errorf("a list at revision %d has %q of revision %d", revision, kv.Key, kv.ModRevision)
			}
			out[string(kv.Key)] = kv
		}
		if !resp.More {
			break
		}
		key = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
	if int64(len(out)) != total {
		return nil, 0, fmt.Errorf("the pages of a list at revision %d hold %d keys, the first one counted %d", revision, len(out), total)
	}
	return out, revision, nil
}

// follow is a watch cache: list, watch from there, compare with lists at the revisions it reaches.
func (a *apiServer) follow(ctx context.Context, prefix string, rnd *rand.Rand) error {
	for ctx.Err() == nil {
		cache, revision, err := a.list(ctx, prefix, 0, 50)
		if err != nil {
			return ignoreEnd(ctx, err)
		}
		if rnd.Intn(3) == 0 {
			// Slow to come back from its list: compaction may have passed it.
			time.Sleep(time.Duration(rnd.Intn(2000)) * time.Millisecond)
		}
		inner, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), time.Duration(500+rnd.Intn(3000))*time.Millisecond)
		watch := a.c.Watch(inner, prefix, clientv3.WithPrefix(), clientv3.WithRev(revision+1), clientv3.WithPrevKV(), clientv3.WithProgressNotify())
		err = a.apply(inner, watch, prefix, cache, revision, rnd)
		if inner.Err() != nil {
			err = nil // its time was over: start anew, as after a reconnect
		}
		cancel()
		if errors.Is(err, rpctypes.ErrCompacted) {
			a.restarts.Add(1)
			continue
		}
		if err != nil {
			return ignoreEnd(ctx, err)
		}
	}
	return nil
}

func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (a *apiServer) apply(ctx context.Context, watch clientv3.WatchChan, prefix string, cache map[string]*mvccpb.KeyValue, revision int64, rnd *rand.Rand) error {
	ask := time.NewTicker(100 * time.Millisecond) // as a waiting consistent read does
	defer ask.Stop()
	compared := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ask.C:
			if err := a.c.RequestProgress(ctx); err != nil {
				return err
			}
		case resp, open := <-watch:
			if !open {
				return errors.New("watch channel closed")
			}
			if err := resp.Err(); err != nil {
				return err
			}
			if resp.Header.Revision < revision {
				return fmt.Errorf("a watch answer of revision %d after one of %d", resp.Header.Revision, revision)
			}
			for _, e := range resp.Events {
				a.events.Add(1)
				key := string(e.Kv.Key)
				if e.Kv.ModRevision <= revision {
					return fmt.Errorf("%s: an event of revision %d, when %d was reached", key, e.Kv.ModRevision, revision)
				}
				before := cache[key]
				if (before == nil) != (e.PrevKv == nil) || (before != nil && before.ModRevision != e.PrevKv.ModRevision) {
					return fmt.Errorf("%s at %d: the event's previous value is %+v, the cache has %+v", key, e.Kv.ModRevision, e.PrevKv, before)
				}
				if e.Type == mvccpb.DELETE {
					if before == nil {
						return fmt.Errorf("%s: deleted at %d, and was not there", key, e.Kv.ModRevision)
					}
					delete(cache, key)
				} else {
					if e.IsCreate() != (before == nil) {
						return fmt.Errorf("%s at %d: create_revision %d, the cache has %+v", key, e.Kv.ModRevision, e.Kv.CreateRevision, before)
					}
					cache[key] = e.Kv
				}
			}
			if n := len(resp.Events); n > 0 {
				revision = resp.Events[n-1].Kv.ModRevision
			}
			if resp.IsProgressNotify() {
				revision = resp.Header.Revision
			}
			// Whatever the cache has reached must be what a list there returns.
			if time.Since(compared) > 150*time.Millisecond {
				listed, _, err := a.list(ctx, prefix, revision, []int64{7, 50, 500}[rnd.Intn(3)])
				if err != nil {
					if errors.Is(err, rpctypes.ErrCompacted) {
						continue
					}
					return err
				}
				if err := same(cache, listed, revision); err != nil {
					return err
				}
				compared = time.Now()
			}
		}
	}
}

func same(cache, listed map[string]*mvccpb.KeyValue, revision int64) error {
	for key, kv := range listed {
		c := cache[key]
		if c == nil || c.ModRevision != kv.ModRevision || c.Version != kv.Version || string(c.Value) != string(kv.Value) {
			return fmt.Errorf("%s at revision %d: listed %d (version %d), the cache has %+v", key, revision, kv.ModRevision, kv.Version, c)
		}
	}
	if len(cache) != len(listed) {
		return fmt.Errorf("at revision %d the cache has %d objects, a list %d", revision, len(cache), len(listed))
	}
	return nil
}

// compactor compacts as API servers do: a txn on a key of its own decides who does.
func (a *apiServer) compactor(ctx context.Context) error {
	version := int64(0)
	for ctx.Err() == nil {
		target := a.revision.Load() - 200
		time.Sleep(500 * time.Millisecond)
		resp, err := a.c.Txn(ctx).If(clientv3.Compare(clientv3.Version("compact_rev_key"), "=", version)).
			Then(clientv3.OpPut("compact_rev_key", fmt.Sprint(target))).Else(clientv3.OpGet("compact_rev_key")).Commit()
		if err != nil {
			return ignoreEnd(ctx, err)
		}
		if !resp.Succeeded {
			version = resp.Responses[0].GetResponseRange().Kvs[0].Version
			continue
		}
		version++
		if target <= 0 {
			continue
		}
		if _, err := a.c.Compact(ctx, target); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
			return ignoreEnd(ctx, err)
		}
	}
	return nil
}

func runKubernetes(args []string) error {
	flags := flag.NewFlagSet("kubernetes", flag.ExitOnError)
	endpoint := flags.String("endpoint", "", "HOST:PORT")
	duration := flags.Duration("duration", 10*time.Second, "how long")
	seed := flags.Int64("seed", time.Now().UnixNano(), "of the objects")
	_ = flags.Parse(args)
	fmt.Println("seed", *seed)
	c, err := newClient(*endpoint)
	if err != nil {
		return err
	}
	defer c.Close()
	a := &apiServer{c: c, resources: []string{"pods", "leases", "events", "configmaps"}}
	// No deadline: a member would tell of its own end of it, maybe before ours has come.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer time.AfterFunc(*duration, cancel).Stop()
	var all sync.WaitGroup
	var once sync.Once
	var failure error
	start := func(name string, run func() error) {
		all.Go(func() {
			if err := run(); err != nil {
				once.Do(func() { failure = fmt.Errorf("%s: %w", name, err) })
				cancel()
			}
		})
	}
	for i := range 8 {
		rnd := rand.New(rand.NewSource(*seed + int64(i)))
		start(fmt.Sprint("writer ", i), func() error {
			for n := 0; ctx.Err() == nil; n++ {
				if err := a.write(ctx, rnd, fmt.Sprintf("%d/%d/%0*d", i, n, rnd.Intn(1000), 0)); err != nil {
					return ignoreEnd(ctx, err)
				}
			}
			return nil
		})
	}
	for i, resource := range a.resources {
		rnd := rand.New(rand.NewSource(*seed - 1 - int64(i)))
		start("cache of "+resource, func() error { return a.follow(ctx, "/registry/"+resource+"/", rnd) })
	}
	start("compactor", func() error { return a.compactor(ctx) })
	// Paged lists of everything, slower than the compaction: a compacted one starts over.
	start("lister", func() error {
		for ctx.Err() == nil {
			if _, _, err := a.list(ctx, "/registry/", 0, 20); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
				return ignoreEnd(ctx, err)
			}
		}
		return nil
	})
	all.Wait()
	if failure != nil {
		return failure
	}
	fmt.Printf("%d writes, %d conflicts, %d lists, %d events, %d leases, %d caches overtaken by compaction\n",
		a.writes.Load(), a.conflicts.Load(), a.lists.Load(), a.events.Load(), a.granted.Load(), a.restarts.Load())
	if a.writes.Load() == 0 || a.events.Load() == 0 {
		return errors.New("nothing happened")
	}
	return nil
}
