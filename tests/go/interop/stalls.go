package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// Work that may hold others up, for tests/bench/stalls.py, and the client that asks for little beside it and notes how
// long it had to wait. They are run as two processes: the work's own goroutines would hold the client up, too.
//
// The phases of work print how many seconds they took: idle (nothing), catchup (watch streams from revision 1, until
// each has seen the newest revision), reconnect (watchers of one key each, spread over the streams, from half of the
// history), compact (at the middle of the history, until it is physically done), deleterange (every key).
//
// The phase probe goes on until its standard input ends: it puts one key and reads it (serializable), one call after the
// other, and scrapes /metrics once a second. It prints one line, the waits in microseconds:
//
//	PROBES PUT_99 PUT_MAX GET_99 GET_MAX

type stalls struct {
	s        *server
	endpoint string
	streams  int
	watchers int
	keys     int
	seconds  time.Duration
}

func (t *stalls) head() (int64, error) {
	r, err := t.s.kv.Range(context.Background(), &pb.RangeRequest{Key: []byte("probe")})
	if err != nil {
		return 0, err
	}
	return r.Header.Revision, nil
}

// probe runs until the context ends; how long each put and each get waited.
func (t *stalls) probe(ctx context.Context) (puts, gets []time.Duration, err error) {
	for ctx.Err() == nil {
		begin := time.Now()
		if _, err := t.s.kv.Put(context.Background(), &pb.PutRequest{Key: []byte("probe"), Value: []byte("x")}); err != nil {
			return nil, nil, err
		}
		puts = append(puts, time.Since(begin))
		begin = time.Now()
		if _, err := t.s.kv.Range(context.Background(), &pb.RangeRequest{Key: []byte("probe"), Serializable: true}); err != nil {
			return nil, nil, err
		}
		gets = append(gets, time.Since(begin))
		time.Sleep(2 * time.Millisecond)
	}
	return puts, gets, nil
}

func (t *stalls) probeAndPrint() error {
	ctx, cancel := context.WithCancel(context.Background())
	var beside sync.WaitGroup
	var scrapeErr error
	beside.Go(func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	})
	beside.Go(func() { scrapeErr = t.scrape(ctx) })
	puts, gets, err := t.probe(ctx)
	cancel()
	if err != nil {
		return err
	}
	beside.Wait()
	if scrapeErr != nil || len(puts) == 0 {
		return errors.Join(scrapeErr, err)
	}
	fmt.Print(len(puts))
	for _, waits := range [][]time.Duration{puts, gets} {
		slices.Sort(waits)
		fmt.Print(" ", waits[len(waits)*99/100].Microseconds(), " ", waits[len(waits)-1].Microseconds())
	}
	fmt.Println()
	return nil
}

func (t *stalls) scrape(ctx context.Context) error {
	for {
		answer, err := http.Get("http://" + t.endpoint + "/metrics")
		if err != nil {
			return err
		}
		if err := answer.Body.Close(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// watch reads one stream with the watchers given until each of them has seen an event of revision `until`, or, with
// until 0, until each is created and the stream has been silent for a second.
func (t *stalls) watch(creates []*pb.WatchCreateRequest, until int64) error {
	s, err := dial("the member", t.endpoint)
	if err != nil {
		return err
	}
	defer s.conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	stream, err := s.watch.Watch(ctx)
	if err != nil {
		return err
	}
	go func() {
		for _, c := range creates {
			if stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: c}}) != nil {
				return
			}
		}
	}()
	created, seen := 0, 0
	silence := time.AfterFunc(time.Hour, cancel)
	for {
		r, err := stream.Recv()
		if err != nil {
			if until == 0 && created == len(creates) && ctx.Err() != nil {
				return nil
			}
			return err
		}
		if r.Canceled {
			return fmt.Errorf("a watcher was cancelled: %s", r.CancelReason)
		}
		if r.Created {
			created++
		}
		if n := len(r.Events); n > 0 && until != 0 && r.Events[n-1].Kv.ModRevision >= until {
			seen++
		}
		if until != 0 && seen >= len(creates) {
			return nil
		}
		if until == 0 && created == len(creates) {
			silence.Reset(time.Second)
		}
	}
}

func (t *stalls) all(makeCreates func(stream int) []*pb.WatchCreateRequest, until int64) error {
	var wait sync.WaitGroup
	failures := make([]error, t.streams)
	for i := range t.streams {
		wait.Go(func() { failures[i] = t.watch(makeCreates(i), until) })
	}
	wait.Wait()
	return errors.Join(failures...)
}

func (t *stalls) run(phase string) error {
	head, err := t.head()
	if err != nil {
		return err
	}
	switch phase {
	case "idle":
		time.Sleep(t.seconds)
	case "catchup":
		return t.all(func(int) []*pb.WatchCreateRequest {
			return []*pb.WatchCreateRequest{{Key: []byte{0}, RangeEnd: []byte{0}, StartRevision: 1}}
		}, head)
	case "reconnect":
		return t.all(func(stream int) []*pb.WatchCreateRequest {
			var creates []*pb.WatchCreateRequest
			for i := range t.watchers {
				key := loadKey((stream*t.watchers + i) % t.keys)
				creates = append(creates, &pb.WatchCreateRequest{Key: key, StartRevision: max(1, head/2)})
			}
			return creates
		}, 0)
	case "compact":
		_, err := t.s.kv.Compact(context.Background(), &pb.CompactionRequest{Revision: head / 2, Physical: true})
		return err
	case "deleterange":
		_, err := t.s.kv.DeleteRange(context.Background(), &pb.DeleteRangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
		return err
	default:
		return fmt.Errorf("no phase %q", phase)
	}
	return nil
}

func runStalls(args []string) error {
	flags := flag.NewFlagSet("stalls", flag.ExitOnError)
	endpoint := flags.String("endpoint", "", "HOST:PORT")
	phase := flags.String("phase", "idle", "idle, catchup, reconnect, compact, deleterange or probe")
	t := &stalls{}
	flags.IntVar(&t.streams, "streams", 20, "watch streams of catchup and reconnect")
	flags.IntVar(&t.watchers, "watchers", 500, "watchers on each stream of reconnect")
	flags.IntVar(&t.keys, "keys", 1_000_000, "number of keys")
	flags.DurationVar(&t.seconds, "duration", 2*time.Second, "how long idle takes")
	_ = flags.Parse(args)
	t.endpoint = *endpoint
	var err error
	if t.s, err = dial("the member", *endpoint); err != nil {
		return err
	}
	if *phase == "probe" {
		return t.probeAndPrint()
	}
	begin := time.Now()
	if err := t.run(*phase); err != nil {
		return err
	}
	fmt.Printf("%.3f\n", time.Since(begin).Seconds())
	return nil
}
