package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// watchLog is one watch stream to one member and what came over it: control answers (created, canceled) in their
// order, and per watcher its event batches. Progress answers are counted, not compared: when they come is up to
// timers.
type watchLog struct {
	stream pb.Watch_WatchClient

	mu           sync.Mutex
	control      []*pb.WatchResponse
	events       map[int64][]*pb.WatchResponse
	batches      int
	created      map[int64]bool
	progressAt   int64 // revision of the last answer to a progress request
	progressSeen map[int64]int
	last         time.Time
	violation    error
}

func openWatch(ctx context.Context, s *server) (*watchLog, error) {
	stream, err := s.watch.Watch(ctx)
	if err != nil {
		return nil, err
	}
	w := &watchLog{stream: stream, events: map[int64][]*pb.WatchResponse{}, created: map[int64]bool{},
		progressSeen: map[int64]int{}, last: time.Now()}
	go w.receive()
	return w, nil
}

func (w *watchLog) receive() {
	for {
		r, err := w.stream.Recv()
		w.mu.Lock()
		if err != nil {
			if w.violation == nil {
				w.violation = fmt.Errorf("stream ended: %w", err)
			}
			w.mu.Unlock()
			return
		}
		w.last = time.Now()
		switch {
		case r.Created || r.Canceled:
			if r.Created && r.WatchId != -1 {
				w.created[r.WatchId] = true
			}
			w.control = append(w.control, r)
			w.progressAt = 0 // what was answered before this watcher came or went says nothing about it
		case len(r.Events) > 0:
			if !w.created[r.WatchId] {
				w.violation = fmt.Errorf("events of watcher %d before its created answer", r.WatchId)
			}
			w.events[r.WatchId] = append(w.events[r.WatchId], r)
			w.batches++
		case r.WatchId == -1:
			w.progressAt = r.Header.Revision
		default:
			w.progressSeen[r.WatchId]++
		}
		w.mu.Unlock()
	}
}

func (w *watchLog) state() (control, batches int, progressAt int64, quiet time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.control), w.batches, w.progressAt, time.Since(w.last), w.violation
}

// take hands over what came since the last call.
func (w *watchLog) take() (control []*pb.WatchResponse, events map[int64][]*pb.WatchResponse) {
	w.mu.Lock()
	defer w.mu.Unlock()
	control, events = w.control, w.events
	w.control, w.events, w.batches = nil, map[int64][]*pb.WatchResponse{}, 0
	return control, events
}

// watchPair is the same watch stream to both members.
//
// Batches are the same on both only if neither is still replaying the past when the next write comes. Hence
// settle() before and after whatever changes the set of watchers. A stream whose watchers are all in the present
// settles by a progress request, which a member answers when everything up to a revision was sent; on a stream
// that may hold watchers of the future or of the compacted past a member never answers, so that one settles by
// silence (irregular).
type watchPair struct {
	ours, real *watchLog
	irregular  bool
	expected   int     // control answers that must have come since the last comparison
	alive      []int64 // watchers to cancel some day, oldest first
	changed    bool    // a watcher was created or cancelled since the last settle
}

const settleTimeout = 15 * time.Second

func openWatchPair(ctx context.Context, ours, real *server, irregular bool) (*watchPair, error) {
	p := &watchPair{irregular: irregular}
	var err error
	if p.ours, err = openWatch(ctx, ours); err != nil {
		return nil, err
	}
	if p.real, err = openWatch(ctx, real); err != nil {
		return nil, err
	}
	// One watcher that sees nothing, so that a progress request is always answered.
	return p, p.create(&pb.WatchCreateRequest{Key: []byte("\x00nothing is ever written here")})
}

func (p *watchPair) send(r *pb.WatchRequest) error {
	if err := p.ours.stream.Send(r); err != nil {
		return fmt.Errorf("ours: %w", err)
	}
	return p.real.stream.Send(r)
}

func (p *watchPair) create(c *pb.WatchCreateRequest) error {
	p.expected++
	p.changed = true
	return p.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: c}})
}

// cancel of an unknown watcher is answered by nothing, hence known.
func (p *watchPair) cancel(id int64, known bool) error {
	if known {
		p.expected++
	}
	p.changed = true
	return p.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{
		CancelRequest: &pb.WatchCancelRequest{WatchId: id}}})
}

// settle waits until both members have sent everything up to the revision. It returns an error if a stream broke;
// that a member did not send what it should shows in the comparison.
func (p *watchPair) settle(revision int64) error {
	deadline := time.Now().Add(settleTimeout)
	ask := func(w *watchLog) error {
		return w.stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{
			ProgressRequest: &pb.WatchProgressRequest{}}})
	}
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if !p.irregular {
			for _, w := range []*watchLog{p.ours, p.real} {
				if _, _, at, _, _ := w.state(); at < revision {
					if err := ask(w); err != nil {
						return err
					}
				}
			}
		}
		time.Sleep(pause)
		oc, ob, oat, oquiet, oerr := p.ours.state()
		rc, rb, rat, rquiet, rerr := p.real.state()
		if oerr != nil {
			return fmt.Errorf("ours: %w", oerr)
		}
		if rerr != nil {
			return fmt.Errorf("real: %w", rerr)
		}
		done := oc >= p.expected && rc >= p.expected
		if p.irregular {
			quiet := 30 * time.Millisecond
			if p.changed {
				quiet = 300 * time.Millisecond // a replay begins within 100 ms
			}
			done = done && oc == rc && ob == rb && min(oquiet, rquiet) >= quiet
		} else {
			done = done && oat >= revision && rat >= revision
		}
		if done {
			p.changed = false
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not settled at revision %d after %v: control answers ours %d, real %d, expected %d; "+
				"batches ours %d, real %d; progress ours %d, real %d", revision, settleTimeout, oc, rc, p.expected, ob, rb, oat, rat)
		}
	}
}

// compare settles and compares everything since the last comparison.
func (p *watchPair) compare(r *report, revision int64, context string) error {
	settled := p.settle(revision)
	oc, oe := p.ours.take()
	rc, re := p.real.take()
	p.expected = 0
	for i := 0; i < max(len(oc), len(rc)); i++ {
		if i >= len(oc) || i >= len(rc) {
			r.add("watch/control/count", fmt.Sprintf("  %s: control answers ours %d, real %d", context, len(oc), len(rc)))
			break
		}
		for _, d := range diff(oc[i], rc[i]) {
			r.add("watch/control/"+d.field(), fmt.Sprintf("  %s: control answer %d: %v\n  real: %v", context, i, d, rc[i]))
		}
		if rc[i].Created && rc[i].WatchId > 0 {
			p.alive = append(p.alive, rc[i].WatchId)
		}
	}
	ids := map[int64]bool{}
	for id := range oe {
		ids[id] = true
	}
	for id := range re {
		ids[id] = true
	}
	for id := range ids {
		a, b := oe[id], re[id]
		if len(a) != len(b) {
			r.add("watch/batches", fmt.Sprintf("  %s: watcher %d: %d batches from ours, %d from the real one\n  ours %s\n  real %s",
				context, id, len(a), len(b), outline(a), outline(b)))
			continue
		}
		for i := range a {
			for _, d := range diff(a[i], b[i]) {
				r.add("watch/events/"+d.field(), fmt.Sprintf("  %s: watcher %d, batch %d: %v\n  ours %s\n  real %s",
					context, id, i, d, outline(a[i:i+1]), outline(b[i:i+1])))
			}
		}
	}
	return settled
}

func outline(batches []*pb.WatchResponse) string {
	text := ""
	for i, b := range batches {
		if i == 6 {
			return text + "…"
		}
		text += fmt.Sprintf("[rev %d:", b.Header.GetRevision())
		for j, e := range b.Events {
			if j == 6 {
				text += " …"
				break
			}
			text += fmt.Sprintf(" %v %q@%d", e.Type, e.Kv.Key, e.Kv.ModRevision)
		}
		text += "] "
	}
	return text
}
