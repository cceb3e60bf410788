package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// Clients that give up: what programs do with the stock client when their own time is short. None of it breaks
// a rule of etcd's, so no call may end for a reason of the server's, no connection may be lost, and a bystander
// on the same connection may notice nothing.

// connections counts those that ended.
type connections struct{ lost atomic.Int64 }

func (c *connections) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (c *connections) HandleRPC(context.Context, stats.RPCStats)                         {}
func (c *connections) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (c *connections) HandleConn(_ context.Context, s stats.ConnStats) {
	if _, ended := s.(*stats.ConnEnd); ended {
		c.lost.Add(1)
	}
}

// crowd is one client, what runs over it, and what went wrong.
type crowd struct {
	c     *clientv3.Client
	calls atomic.Int64
	mutex sync.Mutex
	wrong map[string]int
}

// note counts a call and its error. Given up by the client, or refused for what the request said: fine.
func (w *crowd) note(what string, err error) {
	w.calls.Add(1)
	if err == nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return
	}
	text := err.Error()
	code := status.Code(err)
	// A bare EOF is what sending on a stream gives whose deadline is over; of a lost connection it says more.
	lost := code == codes.Unavailable || code == codes.Internal || strings.Contains(text, "closing") ||
		strings.Contains(text, "reading from server: EOF") || strings.Contains(text, "GOAWAY") ||
		strings.Contains(text, "ENHANCE_YOUR_CALM")
	if !lost {
		return
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.wrong[what+": "+text]++
}

func (w *crowd) each(n int, until time.Time, work func(i int, r *rand.Rand)) {
	var group sync.WaitGroup
	for i := range n {
		group.Add(1)
		go func() {
			defer group.Done()
			r := rand.New(rand.NewSource(int64(i)))
			for time.Now().Before(until) {
				work(i, r)
			}
		}()
	}
	group.Wait()
}

func (w *crowd) keepAliveOnce(until time.Time) {
	leases := make([]clientv3.LeaseID, 50)
	for i := range leases {
		if lease, err := w.c.Grant(context.Background(), 600); err == nil {
			leases[i] = lease.ID
		}
	}
	w.each(len(leases), until, func(i int, _ *rand.Rand) {
		_, err := w.c.KeepAliveOnce(context.Background(), leases[i])
		w.note("KeepAliveOnce", err)
	})
	for _, id := range leases {
		_, err := w.c.Revoke(context.Background(), id)
		w.note("Revoke", err)
	}
}

// Renewals that wait for a lease which is just being revoked.
func (w *crowd) aroundExpiry(until time.Time) {
	w.each(30, until, func(_ int, r *rand.Rand) {
		lease, err := w.c.Grant(context.Background(), 1)
		w.note("Grant", err)
		if err != nil {
			return
		}
		time.Sleep(time.Duration(lease.TTL)*time.Second - 300*time.Millisecond)
		for end := time.Now().Add(900 * time.Millisecond); time.Now().Before(end); {
			// Without renewing it before its time is over.
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			if time.Until(end) < 700*time.Millisecond {
				_, err = w.c.KeepAliveOnce(ctx, lease.ID)
				w.note("KeepAliveOnce at expiry", err)
			} else {
				_, err = w.c.TimeToLive(ctx, lease.ID)
				w.note("TimeToLive at expiry", err)
			}
			cancel()
			time.Sleep(time.Duration(r.Intn(5)) * time.Millisecond)
		}
	})
}

func (w *crowd) tinyDeadlines(until time.Time) {
	w.each(16, until, func(i int, r *rand.Rand) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(100+r.Intn(400))*time.Microsecond)
		defer cancel()
		key := fmt.Sprintf("tiny/%d", i)
		var err error
		switch r.Intn(6) {
		case 0:
			_, err = w.c.Put(ctx, key, "v")
		case 1:
			_, err = w.c.Get(ctx, key)
		case 2:
			_, err = w.c.Txn(ctx).If(clientv3.Compare(clientv3.Version(key), ">", 0)).Then(clientv3.OpPut(key, "w")).Commit()
		case 3:
			_, err = w.c.KeepAliveOnce(ctx, 12345)
		case 4:
			_, err = w.c.MemberList(ctx)
		case 5:
			_, err = w.c.Leases(ctx)
		}
		w.note("short deadline", err)
	})
}

func (w *crowd) watchChurn(until time.Time) {
	w.each(20, until, func(i int, r *rand.Rand) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		events := w.c.Watch(ctx, fmt.Sprintf("churn/%d", i), clientv3.WithPrefix(), clientv3.WithRev(int64(r.Intn(2))))
		if r.Intn(2) == 0 {
			time.Sleep(time.Duration(r.Intn(2000)) * time.Microsecond)
		}
		cancel()
		w.calls.Add(1)
		for e := range events {
			w.note("watch", e.Err())
		}
	})
}

// Streams of their own, as clients with different metadata open them.
func (w *crowd) streams(until time.Time) {
	watch := pb.NewWatchClient(w.c.ActiveConnection())
	alive := pb.NewLeaseClient(w.c.ActiveConnection())
	for time.Now().Before(until) {
		ctx, cancel := context.WithCancel(context.Background())
		for i := range 1000 {
			if i%4 == 0 {
				s, err := alive.LeaseKeepAlive(ctx)
				w.note("open keepalive", err)
				if err == nil {
					w.note("send keepalive", s.Send(&pb.LeaseKeepAliveRequest{ID: 12345}))
				}
				continue
			}
			s, err := watch.Watch(ctx)
			w.note("open watch", err)
			if err != nil {
				continue
			}
			err = s.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
				CreateRequest: &pb.WatchCreateRequest{Key: []byte(fmt.Sprintf("streams/%d", i))}}})
			w.note("send watch", err)
		}
		_, err := w.c.Put(context.Background(), "streams/5", "v")
		w.note("put beside streams", err)
		cancel()
	}
}

func (w *crowd) locks(until time.Time) {
	w.each(12, until, func(i int, r *rand.Rand) {
		session, err := concurrency.NewSession(w.c, concurrency.WithTTL(30))
		w.note("session", err)
		if err != nil {
			return
		}
		defer session.Close()
		for n := 0; n < 20 && time.Now().Before(until); n++ {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+r.Intn(20))*time.Millisecond)
			mutex := concurrency.NewMutex(session, fmt.Sprintf("locks/%d", i%3))
			err := mutex.Lock(ctx)
			cancel()
			w.note("lock", err)
			if err == nil {
				w.note("unlock", mutex.Unlock(context.Background()))
			}
		}
	})
}

func (w *crowd) snapshots(until time.Time) {
	w.each(4, until, func(_ int, r *rand.Rand) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.Intn(8000))*time.Microsecond)
		defer cancel()
		s, err := w.c.Snapshot(ctx)
		w.note("snapshot", err)
		if err != nil {
			return
		}
		_, err = io.CopyN(io.Discard, s, int64(r.Intn(200_000)))
		if !errors.Is(err, io.EOF) { // all of it was read
			w.note("read snapshot", err)
		}
		s.Close()
	})
}

func (w *crowd) ranges(until time.Time) {
	w.each(8, until, func(_ int, r *rand.Rand) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(500+r.Intn(1500))*time.Microsecond)
		defer cancel()
		_, err := w.c.Get(ctx, "range/", clientv3.WithPrefix(), clientv3.WithLimit(int64(r.Intn(5000))))
		w.note("range", err)
	})
}

func (w *crowd) metadata(until time.Time) {
	w.each(4, until, func(_ int, r *rand.Rand) {
		ctx := context.Background()
		for i := range 4 {
			ctx = metadata.AppendToOutgoingContext(ctx, fmt.Sprintf("x-note-%d", i), strings.Repeat("n", 16_000))
		}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err := w.c.Put(ctx, "metadata", "v")
		w.note("put with 64 KB of metadata", err)
	})
}

func runImpatient(args []string) error {
	flags := flag.NewFlagSet("impatient", flag.ExitOnError)
	endpoint := flags.String("endpoint", "", "HOST:PORT")
	each := flags.Duration("each", 2*time.Second, "how long each pattern goes on")
	only := flags.String("only", "", "one pattern")
	_ = flags.Parse(args)

	setup, err := newClient(*endpoint)
	if err != nil {
		return err
	}
	defer setup.Close()
	for n := 0; n < 20_000; n += 100 {
		var ops []clientv3.Op
		for i := range 100 {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("range/%06d", n+i), strings.Repeat("v", 100)))
		}
		if _, err := setup.Txn(context.Background()).Then(ops...).Commit(); err != nil {
			return err
		}
	}
	patterns := []struct {
		name string
		run  func(*crowd, time.Time)
	}{
		{"keepalive-once", (*crowd).keepAliveOnce}, {"around-expiry", (*crowd).aroundExpiry},
		{"tiny-deadlines", (*crowd).tinyDeadlines}, {"watch-churn", (*crowd).watchChurn},
		{"streams", (*crowd).streams}, {"locks", (*crowd).locks}, {"snapshots", (*crowd).snapshots},
		{"ranges", (*crowd).ranges}, {"metadata", (*crowd).metadata},
	}
	failed := 0
	for _, p := range patterns {
		if *only != "" && *only != p.name {
			continue
		}
		if err := oneCrowd(*endpoint, p.name, *each, p.run); err != nil {
			fmt.Println(err)
			failed++
		}
	}
	return want(failed == 0, "%d patterns", failed)
}

func oneCrowd(endpoint, name string, each time.Duration, run func(*crowd, time.Time)) error {
	conns := &connections{}
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 10 * time.Second, Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithStatsHandler(conns)}})
	if err != nil {
		return err
	}
	w := &crowd{c: c, wrong: map[string]int{}}
	stop := make(chan struct{})
	var bystander sync.WaitGroup
	bystander.Add(1)
	puts := 0
	go func() {
		defer bystander.Done()
		for {
			select {
			case <-stop:
				return
			case <-time.After(3 * time.Millisecond):
			}
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			_, err := c.Put(ctx, "bystander", "v")
			cancel()
			puts++
			if err != nil {
				w.mutex.Lock()
				w.wrong["bystander: "+err.Error()]++
				w.mutex.Unlock()
			}
		}
	}()
	run(w, time.Now().Add(each))
	close(stop)
	bystander.Wait()
	lost := conns.lost.Load()
	_ = c.Close()
	fmt.Printf("%s: %d calls, %d puts of the bystander\n", name, w.calls.Load(), puts)
	if lost == 0 && len(w.wrong) == 0 {
		return nil
	}
	text := fmt.Sprintf("FAILED %s: %d connections lost", name, lost)
	shown := 0
	for what, n := range w.wrong {
		if shown++; shown > 5 {
			break
		}
		text += fmt.Sprintf("\n  %d x %s", n, what)
	}
	return errors.New(text)
}
