package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// The watches of the load in cluster.go, and the check of all that its clients saw.

// watcher follows all keys at one member through the stock client, which resumes by itself.
type watcher struct {
	watched
	mu   sync.Mutex
	seen int64
	end  context.CancelFunc
	done chan struct{}
}

func (l *clusterLoad) watch(endpoint string) {
	c, err := l.client(endpoint)
	if err != nil {
		l.violate("client of %s: %v", endpoint, err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.mu.Lock()
	w := &watcher{watched: watched{name: endpoint, from: l.from}, end: cancel, done: make(chan struct{})}
	l.watches[endpoint] = w
	l.mu.Unlock()
	go func() {
		defer close(w.done)
		next := w.from
		for ctx.Err() == nil {
			// A context that can be cancelled alone, so that a new watch opens a new stream.
			for r := range c.Watch(ctx, "c/", clientv3.WithPrefix(), clientv3.WithRev(next)) {
				w.mu.Lock()
				if r.CompactRevision > 0 {
					if next >= r.CompactRevision {
						l.violate("watch %s: cancelled at compact revision %d, and is at %d", endpoint, r.CompactRevision, next)
					}
					w.gaps = append(w.gaps, [2]int64{next, r.CompactRevision})
					next = r.CompactRevision
				}
				for _, e := range r.Events {
					v := event{e.Kv.ModRevision, string(e.Kv.Key), string(e.Kv.Value)}
					w.events = append(w.events, v)
					next = max(next, v.revision+1)
					w.seen = max(w.seen, v.revision)
				}
				w.mu.Unlock()
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
}

// setEndpoints makes the watches follow.
func (l *clusterLoad) setEndpoints(list string) {
	l.mu.Lock()
	l.endpoints = strings.Split(list, ",")
	want := map[string]bool{list: true}
	for _, e := range l.endpoints {
		want[e] = true
	}
	var ending []*watcher
	for name, w := range l.watches {
		if !want[name] {
			ending = append(ending, w)
			delete(l.watches, name)
		}
		delete(want, name)
	}
	l.mu.Unlock()
	for _, w := range ending {
		w.end()
		<-w.done
	}
	if l.watching {
		for name := range want {
			l.watch(name)
		}
	}
}

// eventually retries until the cluster answers.
func (l *clusterLoad) eventually(what string, limit time.Duration, do func(ctx context.Context, c *clientv3.Client) error) error {
	deadline := time.Now().Add(limit)
	for n := 0; ; n++ {
		c, err := l.client(l.choice(0, n))
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			err = do(ctx, c)
			cancel()
		}
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not done after %s: %w", what, limit, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// level waits until every watch has everything up to the revision of a marker that it writes, and returns that.
func (l *clusterLoad) level() (int64, error) {
	marker := &attempt{kind: opPut, key: fmt.Sprintf("c/marker/%d", l.unique.Add(1))}
	err := l.eventually("a last write", time.Minute, func(ctx context.Context, c *clientv3.Client) error {
		a := *marker
		a.value, a.begin = fmt.Sprintf("m-%d", l.unique.Add(1)), l.now()
		r, err := c.Put(ctx, a.key, a.value)
		a.end = l.now()
		if err != nil {
			a.outcome = unknown
		} else {
			a.revision = r.Header.Revision
			marker = &a
		}
		l.mu.Lock()
		l.history = append(l.history, &a)
		l.mu.Unlock()
		return err
	})
	if err != nil {
		return 0, err
	}
	deadline := time.Now().Add(time.Minute)
	for _, w := range l.copyWatches() {
		for {
			w.mu.Lock()
			seen := w.seen
			w.mu.Unlock()
			if seen >= marker.revision {
				break
			}
			if time.Now().After(deadline) {
				return 0, fmt.Errorf("watch %s is at revision %d, a minute after %d was written", w.name, seen, marker.revision)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return marker.revision, nil
}

func (l *clusterLoad) copyWatches() []*watcher {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*watcher
	for _, w := range l.watches {
		all = append(all, w)
	}
	return all
}

// finalReads adds a linearizable read of every key to the history.
func (l *clusterLoad) finalReads() error {
	l.mu.Lock()
	keys := map[string]bool{}
	for _, a := range l.history {
		if !a.earlier {
			keys[a.key] = true
		}
	}
	l.mu.Unlock()
	var begin, end int64
	var got *clientv3.GetResponse
	if err := l.eventually("a read of everything", time.Minute, func(ctx context.Context, c *clientv3.Client) (err error) {
		begin = l.now()
		got, err = c.Get(ctx, "c/", clientv3.WithPrefix())
		end = l.now()
		return err
	}); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	found := map[string]*attempt{}
	for _, p := range got.Kvs {
		found[string(p.Key)] = &attempt{seen: string(p.Value), mod: p.ModRevision}
	}
	for key := range keys {
		a := &attempt{client: -1, endpoint: "the end", kind: opGet, key: key, begin: begin, end: end, revision: got.Header.Revision}
		if f := found[key]; f != nil {
			a.seen, a.mod = f.seen, f.mod
		}
		l.history = append(l.history, a)
	}
	return nil
}

// check compares everything since the check before.
func (l *clusterLoad) check() (string, error) {
	l.setPaused(true)
	if err := l.finalReads(); err != nil {
		return "", err
	}
	until, err := l.level()
	if err != nil {
		return "", err
	}
	if err := l.leasesEnd(); err != nil {
		return "", err
	}
	var views []*watched
	events := 0
	for _, w := range l.copyWatches() {
		w.mu.Lock()
		view := w.watched
		events += len(w.events)
		w.events, w.gaps, w.from = nil, nil, until+1
		w.mu.Unlock()
		views = append(views, &view)
	}
	l.mu.Lock()
	history, acked, leases, violation := l.history, l.acked, l.leases, l.violation
	l.history, l.acked, l.leases, l.from = nil, 0, 0, until+1
	for i := range l.slots {
		l.slots[i] = slot{}
	}
	l.mu.Unlock()
	if violation != nil {
		return "", violation
	}
	attempts, unknowns := 0, 0
	for _, a := range history {
		if a.earlier {
			continue
		}
		attempts++
		if a.outcome == unknown {
			unknowns++
		}
	}
	if err := checkHistory(history, views, until); err != nil {
		return "", err
	}
	left := pending(history, views)
	l.mu.Lock()
	l.history = append(l.history, left...)
	l.mu.Unlock()
	return fmt.Sprintf("%d %d %d %d %d %d", until, attempts, acked, unknowns, events, leases), nil
}

// leasesEnd: a lease nobody renews ends. A new leader gives it its whole TTL again.
func (l *clusterLoad) leasesEnd() error {
	l.mu.Lock()
	gone := l.gone
	l.gone = nil
	l.mu.Unlock()
	deadline := time.Now().Add(4*leaseTTL*time.Second + 10*time.Second)
	for _, id := range gone {
		for {
			ttl := int64(0)
			err := l.eventually("time to live", time.Minute, func(ctx context.Context, c *clientv3.Client) error {
				r, err := c.TimeToLive(ctx, id)
				if err == nil {
					ttl = r.TTL
				}
				return err
			})
			if err != nil {
				return err
			}
			if ttl == -1 {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("lease %x has a time to live of %d long after its last renewal", id, ttl)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	return nil
}
