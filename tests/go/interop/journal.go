package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// journal runs writers that remember what was acknowledged to them, while a driver stops, kills, swaps and
// restarts the member below. It is told what to do on standard input, a line at a time, and answers `ok ...`:
//
//	run           let the writers write (they go on through failures)
//	pause         stop them, each after its current request
//	compact       compact to 50 revisions back
//	check         writers paused: compare the whole store, and the history since the compaction, with what was
//	              acknowledged; answers `ok REVISION KEYS ACKNOWLEDGED`
//	hash [REV]    HashKV at REV (default: current); answers `ok HASH REVISION COMPACT_REVISION`
//	fill N        wait until N more writes were acknowledged
//
// What holds at every check: an acknowledged write is there, at the revision acknowledged; a write whose answer
// was lost is there wholly or not at all; the keys of one txn changed in one revision; revisions never go back.
type journal struct {
	kv          pb.KVClient
	watch       pb.WatchClient
	lease       pb.LeaseClient
	maintenance pb.MaintenanceClient
	conn        *grpc.ClientConn

	gate    sync.RWMutex // writers hold it while a request is under way
	writers []*journalWriter

	mu           sync.Mutex
	highest      int64 // revision ever seen in an answer
	acknowledged int
	compacted    int64
	verified     int64 // history up to here was compared already
	history      map[int64]map[string]journalOp
	failure      error
}

// journalOp is one change of one key.
type journalOp struct {
	value   string
	deleted bool
	lease   int64
}

// journalWriter owns keys nobody else writes: single ones and groups that only change together.
type journalWriter struct {
	id    int
	rnd   *rand.Rand
	seq   int
	lease int64
	state map[string]journalOp // what a read must show; absent: never written, or deleted
	// The request whose outcome is unknown, if any: all of these changes are there, or none.
	open map[string]journalOp
}

const journalGroup = 4

func (j *journal) fail(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failure == nil {
		j.failure = fmt.Errorf(format, args...)
	}
}

// plan draws the next request: a txn, whatever it does, so that one shape covers all.
func (w *journalWriter) plan() (*pb.TxnRequest, map[string]journalOp) {
	w.seq++
	changes := map[string]journalOp{}
	txn := &pb.TxnRequest{}
	put := func(key string) {
		op := journalOp{value: fmt.Sprintf("%d-%d-%0*d", w.id, w.seq, w.rnd.Intn(200), 0)}
		if w.lease != 0 && w.rnd.Intn(4) == 0 {
			op.lease = w.lease
		}
		changes[key] = op
		txn.Success = append(txn.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{
			RequestPut: &pb.PutRequest{Key: []byte(key), Value: []byte(op.value), Lease: op.lease}}})
	}
	remove := func(key string) {
		changes[key] = journalOp{deleted: true}
		txn.Success = append(txn.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{
			RequestDeleteRange: &pb.DeleteRangeRequest{Key: []byte(key)}}})
	}
	switch n := w.rnd.Intn(10); {
	case n < 5:
		put(fmt.Sprintf("j/%02d/single/%02d", w.id, w.rnd.Intn(30)))
	case n < 6:
		key := fmt.Sprintf("j/%02d/single/%02d", w.id, w.rnd.Intn(30))
		if _, there := w.state[key]; there {
			remove(key)
		} else {
			put(key)
		}
	default:
		group := w.rnd.Intn(4)
		for i := range journalGroup {
			put(fmt.Sprintf("j/%02d/group%d/%d", w.id, group, i))
		}
	}
	return txn, changes
}

func (w *journalWriter) settle(changes map[string]journalOp) {
	for key, op := range changes {
		if op.deleted {
			delete(w.state, key)
		} else {
			w.state[key] = op
		}
	}
}

// refused tells the errors after which a write can't have happened.
func refused(err error) bool {
	s := status.Convert(err)
	switch s.Code() {
	case codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition, codes.OutOfRange, codes.ResourceExhausted:
		return true
	case codes.Unavailable:
		return strings.Contains(s.Message(), "connection refused")
	}
	return false
}

func (j *journal) one(w *journalWriter) {
	j.gate.RLock()
	defer j.gate.RUnlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if w.open != nil {
		if err := j.resolve(ctx, w); err != nil {
			time.Sleep(10 * time.Millisecond)
			return
		}
	}
	txn, changes := w.plan()
	resp, err := j.kv.Txn(ctx, txn)
	if err != nil {
		switch s := status.Convert(err); {
		case s.Code() == codes.NotFound && s.Message() == "etcdserver: requested lease not found":
			j.fail("writer %d: the lease %d that was granted is gone", w.id, w.lease)
		case refused(err):
			time.Sleep(10 * time.Millisecond)
		default:
			w.open = changes
		}
		return
	}
	w.settle(changes)
	j.mu.Lock()
	defer j.mu.Unlock()
	if resp.Header.Revision <= 1 {
		j.failure = fmt.Errorf("a write was acknowledged with revision %d", resp.Header.Revision)
	}
	j.acknowledged++
	j.highest = max(j.highest, resp.Header.Revision)
	// Two acknowledgements of one revision mean that one of the two writes is lost.
	if _, twice := j.history[resp.Header.Revision]; twice && j.failure == nil {
		j.failure = fmt.Errorf("revision %d was acknowledged twice", resp.Header.Revision)
	}
	j.history[resp.Header.Revision] = changes
}

// resolve finds out whether the open request happened; half of it is a failure.
func (j *journal) resolve(ctx context.Context, w *journalWriter) error {
	happened, not := 0, 0
	var detail []string
	for key, op := range w.open {
		resp, err := j.kv.Range(ctx, &pb.RangeRequest{Key: []byte(key)})
		if err != nil {
			return err
		}
		now := journalOp{deleted: true}
		if len(resp.Kvs) == 1 {
			now = journalOp{value: string(resp.Kvs[0].Value), lease: resp.Kvs[0].Lease}
		}
		before, there := w.state[key]
		if !there {
			before = journalOp{deleted: true}
		}
		switch now {
		case op:
			happened++
		case before:
			not++
		default:
			j.fail("key %q shows %+v; acknowledged was %+v, under way %+v", key, now, before, op)
		}
		detail = append(detail, fmt.Sprintf("%q: %+v", key, now))
	}
	if happened > 0 && not > 0 {
		j.fail("writer %d: a txn of %d changes is there by half: %s", w.id, len(w.open), strings.Join(detail, ", "))
	}
	if happened > 0 {
		w.settle(w.open)
	}
	w.open = nil
	return nil
}

// read fetches all keys of the journal in pages of one revision.
func (j *journal) read(ctx context.Context) (map[string]*mvccpb.KeyValue, int64, error) {
	out := map[string]*mvccpb.KeyValue{}
	key, revision := []byte("j/"), int64(0)
	for {
		resp, err := j.kv.Range(ctx, &pb.RangeRequest{Key: key, RangeEnd: []byte("j0"), Limit: 500, Revision: revision})
		if err != nil {
			return nil, 0, err
		}
		if revision == 0 {
			revision = resp.Header.Revision
		}
		for _, kv := range resp.Kvs {
			out[string(kv.Key)] = kv
		}
		if !resp.More {
			return out, revision, nil
		}
		key = append(resp.Kvs[len(resp.Kvs)-1].Key, 0)
	}
}

// compareHistory replays all events since the last check and finds every acknowledged change at its revision.
func (j *journal) compareHistory(ctx context.Context, from, to int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := j.watch.Watch(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
		Key: []byte("j/"), RangeEnd: []byte("j0"), StartRevision: from}}}); err != nil {
		return err
	}
	// A change of its own marks the end of the replay.
	mark, err := j.kv.Put(ctx, &pb.PutRequest{Key: []byte("j/mark"), Value: []byte("x")})
	if err != nil {
		return err
	}
	if mark.Header.Revision <= to {
		return fmt.Errorf("a put after a read at %d was given revision %d", to, mark.Header.Revision)
	}
	j.mu.Lock()
	j.highest = max(j.highest, mark.Header.Revision)
	j.mu.Unlock()
	seen := map[int64]map[string]journalOp{}
	last := int64(0)
	for last < mark.Header.Revision {
		resp, err := stream.Recv()
		if err != nil {
			return err
		}
		if resp.Canceled {
			return fmt.Errorf("watch from %d was cancelled: compacted at %d, %s", from, resp.CompactRevision, resp.CancelReason)
		}
		for _, e := range resp.Events {
			r := e.Kv.ModRevision
			if r < last || r < from {
				return fmt.Errorf("an event of revision %d after one of %d, watching from %d", r, last, from)
			}
			last = r
			if seen[r] == nil {
				seen[r] = map[string]journalOp{}
			}
			seen[r][string(e.Kv.Key)] = journalOp{value: string(e.Kv.Value), deleted: e.Type == mvccpb.DELETE, lease: e.Kv.Lease}
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for revision, changes := range j.history {
		if revision < from {
			continue
		}
		for key, op := range changes {
			got, there := seen[revision][key]
			if !there || got != op {
				return fmt.Errorf("acknowledged at revision %d: %q %+v; the history there shows %+v", revision, key, op, seen[revision])
			}
		}
		if len(seen[revision]) != len(changes) {
			return fmt.Errorf("revision %d: %d changes acknowledged, the history shows %+v", revision, len(changes), seen[revision])
		}
	}
	j.history = map[int64]map[string]journalOp{}
	j.verified = mark.Header.Revision
	return nil
}

func (j *journal) check() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if _, err := j.maintenance.Status(ctx, &pb.StatusRequest{}, grpc.WaitForReady(true)); err != nil {
		return "", err
	}
	for _, w := range j.writers {
		if w.open != nil {
			if err := j.resolve(ctx, w); err != nil {
				return "", err
			}
		}
	}
	all, revision, err := j.read(ctx)
	if err != nil {
		return "", err
	}
	j.mu.Lock()
	highest, compacted, verified, acknowledged := j.highest, j.compacted, j.verified, j.acknowledged
	j.highest = max(j.highest, revision)
	j.mu.Unlock()
	if revision < highest {
		return "", fmt.Errorf("revision went back: %d was seen, now %d", highest, revision)
	}
	delete(all, "j/mark")
	count := 0
	for _, w := range j.writers {
		for key, op := range w.state {
			kv := all[key]
			if kv == nil || string(kv.Value) != op.value || kv.Lease != op.lease {
				return "", fmt.Errorf("acknowledged: %q %+v; there is %+v", key, op, kv)
			}
			count++
		}
		for group := range 4 {
			var at []int64
			for i := range journalGroup {
				if kv := all[fmt.Sprintf("j/%02d/group%d/%d", w.id, group, i)]; kv != nil {
					at = append(at, kv.ModRevision)
				}
			}
			for _, r := range at {
				if len(at) != journalGroup || r != at[0] {
					return "", fmt.Errorf("group %d of writer %d, written by single txns, has revisions %v", group, w.id, at)
				}
			}
		}
	}
	if count != len(all) {
		for key, kv := range all {
			var id int
			_, _ = fmt.Sscanf(key, "j/%d/", &id)
			if id >= len(j.writers) {
				continue
			}
			if _, there := j.writers[id].state[key]; !there {
				return "", fmt.Errorf("%q is there (%+v), its deletion was acknowledged", key, kv)
			}
		}
		return "", fmt.Errorf("%d keys, %d acknowledged", len(all), count)
	}
	if err := j.compareHistory(ctx, max(verified, compacted, 0)+1, revision); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d %d %d", revision, len(all), acknowledged), nil
}

// compact keeps the revisions that no check has seen yet.
func (j *journal) compact() error {
	j.mu.Lock()
	target := min(j.highest-50, j.verified)
	skip := target <= max(j.compacted, 0)
	j.mu.Unlock()
	if skip {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, err := j.kv.Compact(ctx, &pb.CompactionRequest{Revision: target, Physical: true})
	if err != nil && status.Convert(err).Message() != "etcdserver: mvcc: required revision has been compacted" {
		return err
	}
	j.mu.Lock()
	j.compacted = target
	j.mu.Unlock()
	return nil
}

func (j *journal) hash(line string) (string, error) {
	var revision int64
	_, _ = fmt.Sscanf(line, "hash %d", &revision)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	resp, err := j.maintenance.HashKV(ctx, &pb.HashKVRequest{Revision: revision}, grpc.WaitForReady(true))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d %d %d", resp.Hash, resp.HashRevision, resp.CompactRevision), nil
}

func (j *journal) fill(line string) error {
	n := 0
	_, _ = fmt.Sscanf(line, "fill %d", &n)
	j.mu.Lock()
	target := j.acknowledged + n
	j.mu.Unlock()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		j.mu.Lock()
		now := j.acknowledged
		j.mu.Unlock()
		if now >= target {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("only %d of %d writes were acknowledged in a minute", n-(target-now), n)
		}
	}
}

func (j *journal) obey(line string, paused *bool) (string, error) {
	var answer string
	var err error
	switch verb, _, _ := strings.Cut(line, " "); verb {
	case "run":
		if *paused {
			j.gate.Unlock()
		}
		*paused = false
	case "pause":
		if !*paused {
			j.gate.Lock()
		}
		*paused = true
	case "check":
		if !*paused {
			return "", errors.New("pause first")
		}
		answer, err = j.check()
	case "compact":
		err = j.compact()
	case "hash":
		answer, err = j.hash(line)
	case "fill":
		err = j.fill(line)
	default:
		err = fmt.Errorf("unknown command %q", line)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err == nil {
		err = j.failure
	}
	return answer, err
}

func runJournal(args []string) error {
	flags := flag.NewFlagSet("journal", flag.ExitOnError)
	endpoint := flags.String("endpoint", "", "HOST:PORT")
	writers := flags.Int("writers", 6, "how many write at the same time")
	seed := flags.Int64("seed", time.Now().UnixNano(), "of what they write")
	_ = flags.Parse(args)

	// Retries come quickly: the member is away for moments.
	conn, err := grpc.NewClient("passthrough:///"+*endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 2 * time.Second,
			Backoff: backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.3, MaxDelay: 100 * time.Millisecond}}))
	if err != nil {
		return err
	}
	j := &journal{conn: conn, kv: pb.NewKVClient(conn), watch: pb.NewWatchClient(conn), lease: pb.NewLeaseClient(conn),
		maintenance: pb.NewMaintenanceClient(conn), history: map[int64]map[string]journalOp{}, compacted: -1}
	j.gate.Lock()
	paused := true
	for i := range *writers {
		w := &journalWriter{id: i, rnd: rand.New(rand.NewSource(*seed + int64(i))), state: map[string]journalOp{}}
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		grant, err := j.lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: 3600}, grpc.WaitForReady(true))
		cancel()
		if err != nil {
			return err
		}
		w.lease = grant.ID
		j.writers = append(j.writers, w)
		go func() {
			for {
				j.one(w)
			}
		}()
	}
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		answer, err := j.obey(input.Text(), &paused)
		if err != nil {
			fmt.Printf("seed %d: %v\n", *seed, err)
			return err
		}
		fmt.Println("ok", answer)
	}
	return nil
}
