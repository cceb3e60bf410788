package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// runLocks makes the same calls of the Lock and Election services to two members, one after the other, and compares
// what each tells: code, text, every field of the answers but generated ids, and all keys after each step.
func runLocks(args []string) error {
	flags := flag.NewFlagSet("locks", flag.ContinueOnError)
	ours := flags.String("ours", "", "the member under test")
	real := flags.String("real", "", "a real etcd")
	verbose := flags.Bool("verbose", false, "print every line")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var said [2][]string
	for i, endpoint := range []string{*ours, *real} {
		lines, err := tellLocks(endpoint)
		if err != nil {
			return fmt.Errorf("%s: %w", endpoint, err)
		}
		said[i] = lines
	}
	if *verbose {
		fmt.Println(strings.Join(said[1], "\n"))
	}
	if len(said[0]) != len(said[1]) {
		return fmt.Errorf("%d lines, real %d", len(said[0]), len(said[1]))
	}
	differences := 0
	for i := range said[0] {
		if said[0][i] != said[1][i] {
			differences++
			fmt.Printf("ours: %s\nreal: %s\n", said[0][i], said[1][i])
		}
	}
	if differences > 0 {
		return fmt.Errorf("%d of %d lines differ", differences, len(said[0]))
	}
	fmt.Printf("%d lines alike\n", len(said[0]))
	return nil
}

// teller makes calls to one member and writes down what they tell.
type teller struct {
	ctx   context.Context
	c     *clientv3.Client
	conn  *grpc.ClientConn
	lines []string
}

func (t *teller) say(format string, args ...any) {
	t.lines = append(t.lines, fmt.Sprintf(format, args...))
}
func (t *teller) state(what string) { t.say("%s: %s", what, state(t.ctx, t.c)) }

func (t *teller) call(what, method string, request lockMessage) []byte {
	ctx, cancel := context.WithTimeout(t.ctx, 20*time.Second)
	defer cancel()
	out, err := invoke(ctx, t.conn, method, request)
	t.say("%s: %s", what, told(method, out, err))
	return out
}

// later makes a call that waits; end() tells its answer.
type later struct {
	what, method string
	done         chan string
	cancel       context.CancelFunc
}

func (t *teller) later(what, method string, request lockMessage, timeout time.Duration) *later {
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	l := &later{what, method, make(chan string, 1), cancel}
	before, _ := t.c.Get(t.ctx, "none")
	go func() {
		out, err := invoke(ctx, t.conn, method, request)
		l.done <- told(method, out, err)
	}()
	// Until it waits: its key is there, or for a while.
	for i := 0; i < 100; i++ {
		time.Sleep(5 * time.Millisecond)
		if now, err := t.c.Get(t.ctx, "none"); err == nil && now.Header.Revision > before.Header.Revision {
			break
		}
	}
	time.Sleep(50 * time.Millisecond)
	select {
	case answer := <-l.done:
		t.say("%s: did not wait: %s", what, answer)
		l.done <- answer
	default:
		t.say("%s: waits", what)
	}
	return l
}

func (t *teller) end(l *later) {
	select {
	case answer := <-l.done:
		t.say("%s: %s", l.what, answer)
	case <-time.After(20 * time.Second):
		t.say("%s: no answer", l.what)
	}
	l.cancel()
}

// settle waits until as many keys are left: a call that ended gives its key up a moment later.
func (t *teller) settle(keys int) {
	for i := 0; i < 400; i++ {
		all, err := t.c.Get(t.ctx, "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly())
		if err == nil && all.Count == int64(keys) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (t *teller) lease(id int64) {
	_, err := pb.NewLeaseClient(t.conn).LeaseGrant(t.ctx, &pb.LeaseGrantRequest{ID: id, TTL: 600})
	if err != nil {
		t.say("lease %x: %v", id, err)
	}
}

func (t *teller) revoke(id int64) {
	if _, err := t.c.Revoke(t.ctx, clientv3.LeaseID(id)); err != nil {
		t.say("revoke %x: %v", id, err)
	}
}

func tellLocks(endpoint string) ([]string, error) {
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
	defer cancel()
	t := &teller{ctx: ctx, c: c, conn: c.ActiveConnection()}
	for id := int64(0x10); id <= 0x16; id++ {
		t.lease(id)
	}
	t.lease(-31)
	t.locks()
	t.elections()
	t.observers()
	t.nonsense()
	return t.lines, ctx.Err()
}

func (t *teller) locks() {
	t.call("lock", lockMethod, lockRequest("my", 0x10))
	t.call("lock again", lockMethod, lockRequest("my", 0x10))
	t.state("one lock")
	t.call("lock, empty name", lockMethod, lockRequest("", 0x10))
	t.call("lock, any bytes", lockMethod, lockRequest("a\x00\xff/", -31))
	t.call("lock, unknown lease", lockMethod, lockRequest("other", 0x99))
	t.call("lock, long name", lockMethod, lockRequest(strings.Repeat("n", 400_000), 0x10))
	t.call("lock, name that is long enough", lockMethod, lockRequest(strings.Repeat("n", 100_000), 0x10))
	t.call("unlock it", unlockMethod, lockMessage{}.bytes(1, strings.Repeat("n", 100_000)+"/10"))
	t.state("locks")
	out := t.callQuietly(lockMethod, lockRequest("free", 0))
	f, _ := parse(out)
	var lease int64
	if _, err := fmt.Sscanf(f.strings[2], "free/%x", &lease); err != nil {
		t.say("lock without a lease: %q", f.strings[2])
	}
	t.say("lock without a lease: %s", withGenerated(told(lockMethod, out, nil), lease))
	ttl, err := t.c.TimeToLive(t.ctx, clientv3.LeaseID(lease), clientv3.WithAttachedKeys())
	if err != nil {
		t.say("its lease: %v", err)
	} else {
		t.say("its lease: granted %d, keys %s", ttl.GrantedTTL, withGenerated(fmt.Sprintf("%q", ttl.Keys), lease))
	}
	t.call("unlock, empty", unlockMethod, nil)
	t.call("unlock, unknown", unlockMethod, lockMessage{}.bytes(1, "nothing"))
	t.call("unlock, prefix", unlockMethod, lockMessage{}.bytes(1, "my"))

	second := t.later("second", lockMethod, lockRequest("my", 0x11), 30*time.Second)
	third := t.later("third", lockMethod, lockRequest("my", 0x12), 30*time.Second)
	fourth := t.later("fourth", lockMethod, lockRequest("my", 0x13), 30*time.Second)
	twice := t.later("second once more", lockMethod, lockRequest("my", 0x11), 30*time.Second)
	t.revoke(0x12)
	if _, err := t.c.Put(t.ctx, "beside", ""); err != nil {
		t.say("put: %v", err)
	}
	t.call("unlock first", unlockMethod, lockMessage{}.bytes(1, "my/10"))
	t.end(second)
	t.end(twice)
	t.call("unlock second", unlockMethod, lockMessage{}.bytes(1, "my/11"))
	t.end(fourth)
	t.end(third)
	t.lease(0x12)
	late := t.later("late", lockMethod, lockRequest("my", 0x12), 700*time.Millisecond)
	t.end(late)
	t.settle(5)
	given := t.later("given up", lockMethod, lockRequest("my", 0x12), 30*time.Second)
	given.cancel()
	t.end(given)
	t.settle(5)
	t.call("unlock fourth", unlockMethod, lockMessage{}.bytes(1, "my/13"))
	t.callLeader("with a leader asked for")
	for _, key := range []string{"/10", "a\x00\xff//-1f", "beside"} {
		t.call(fmt.Sprintf("unlock %q", key), unlockMethod, lockMessage{}.bytes(1, key))
	}
	t.revoke(lease)
	t.settle(0)
	keys, err := t.c.Get(t.ctx, "\x00", clientv3.WithFromKey())
	t.say("keys left: %d %v", keys.Count, err)
}

func (t *teller) callQuietly(method string, request lockMessage) []byte {
	out, err := invoke(t.ctx, t.conn, method, request)
	if err != nil {
		t.say("%s: %v", method, err)
	}
	return out
}

func (t *teller) callLeader(what string) {
	out, err := invoke(requireLeader(t.ctx), t.conn, leaderMethod, lockMessage{}.bytes(1, "none"))
	t.say("%s: %s", what, told(leaderMethod, out, err))
}

func (t *teller) elections() {
	t.call("no leader", leaderMethod, lockMessage{}.bytes(1, "e"))
	t.call("leader, no name", leaderMethod, nil)
	out := t.call("campaign", campaignMethod, campaignRequest("e", 0x10, "one"))
	f, _ := parse(out)
	key, _ := parse([]byte(f.strings[2]))
	rev := key.numbers[3]
	t.call("campaign again", campaignMethod, campaignRequest("e", 0x10, "one"))
	t.call("campaign again, other value", campaignMethod, campaignRequest("e", 0x10, "other"))
	t.call("leader", leaderMethod, lockMessage{}.bytes(1, "e"))
	t.call("campaign, unknown lease", campaignMethod, campaignRequest("e", 0x99, "x"))
	t.call("campaign, empty", campaignMethod, campaignRequest("", 0x10, ""))
	t.call("campaign, too large", campaignMethod, campaignRequest("e", 0x11, strings.Repeat("v", 1_600_000)))
	t.call("proclaim", proclaimMethod, lockMessage{}.sub(1, leaderKey("e", "e/10", rev, 0x10)).bytes(2, "said"))
	t.call("proclaim, name does not matter", proclaimMethod, lockMessage{}.sub(1, leaderKey("zz", "e/10", rev, 0x10)).bytes(2, "said"))
	t.call("proclaim, other revision", proclaimMethod, lockMessage{}.sub(1, leaderKey("e", "e/10", rev-1, 0x10)).bytes(2, "x"))
	t.call("proclaim, other lease", proclaimMethod, lockMessage{}.sub(1, leaderKey("e", "e/10", rev, 0x11)).bytes(2, "moved"))
	t.call("proclaim, unknown lease", proclaimMethod, lockMessage{}.sub(1, leaderKey("e", "e/10", rev, 0x99)).bytes(2, "x"))
	t.call("proclaim, no leader", proclaimMethod, lockMessage{}.bytes(2, "x"))
	t.call("proclaim, empty leader", proclaimMethod, lockMessage{}.sub(1, lockMessage{}))
	t.call("proclaim, no key", proclaimMethod, lockMessage{}.sub(1, leaderKey("e", "", rev, 0x10)).bytes(2, "x"))
	t.call("proclaim, new key", proclaimMethod, lockMessage{}.sub(1, leaderKey("e", "made", 0, 0x10)).bytes(2, "x"))
	t.call("proclaim, unknown key", proclaimMethod, lockMessage{}.sub(1, leaderKey("e", "unknown", 7, 0x10)).bytes(2, "x"))
	t.call("resign, no leader", resignMethod, nil)
	t.call("resign, empty leader", resignMethod, lockMessage{}.sub(1, lockMessage{}))
	t.call("resign, other revision", resignMethod, lockMessage{}.sub(1, leaderKey("e", "e/10", rev-1, 0x10)))
	t.call("resign, unknown lease", resignMethod, lockMessage{}.sub(1, leaderKey("e", "unknown", 1, 0x99)))
	t.state("elections")
	second := t.later("second candidate", campaignMethod, campaignRequest("e", 0x12, "two"), 30*time.Second)
	third := t.later("third candidate", campaignMethod, campaignRequest("e", 0x13, "three"), 30*time.Second)
	lost := t.later("candidate without a lease", campaignMethod, campaignRequest("e", 0x14, "lost"), 30*time.Second)
	t.call("leader is still", leaderMethod, lockMessage{}.bytes(1, "e"))
	changed := t.later("third with another value", campaignMethod, campaignRequest("e", 0x13, "changed"), 30*time.Second)
	t.revoke(0x14)
	t.call("resign", resignMethod, lockMessage{}.sub(1, leaderKey("e", "e/10", rev, 0x11)))
	t.end(second)
	t.call("resign again", resignMethod, lockMessage{}.sub(1, leaderKey("e", "e/10", rev, 0x11)))
	t.revoke(0x12)
	t.end(third)
	t.end(changed)
	t.revoke(0x13)
	t.end(lost)
	t.lease(0x12)
	t.lease(0x13)
	t.lease(0x14)
	t.call("nobody leads", leaderMethod, lockMessage{}.bytes(1, "e"))
	t.call("campaign of one", campaignMethod, campaignRequest("e", 0x12, "two"))
	late := t.later("late candidate", campaignMethod, campaignRequest("e", 0x13, "late"), 700*time.Millisecond)
	t.end(late)
	t.settle(3)
	given := t.later("candidate that gives up", campaignMethod, campaignRequest("e", 0x13, "late"), 30*time.Second)
	given.cancel()
	t.end(given)
	t.settle(3)
	// The lock service sees the same keys.
	lock := t.later("a lock of that name", lockMethod, lockRequest("e", 0x14), 30*time.Second)
	t.revoke(0x12)
	t.end(lock)
	t.call("its leader", leaderMethod, lockMessage{}.bytes(1, "e"))
	t.lease(0x12)
	t.state("after the elections")
}

func (t *teller) observers() {
	next := func(what string, o *observation) {
		out, err := o.next()
		t.say("%s: %s", what, told(observeMethod, out, err))
	}
	first, err := observe(t.ctx, t.conn, "o")
	if err != nil {
		t.say("observe: %v", err)
		return
	}
	time.Sleep(100 * time.Millisecond)
	won := t.call("campaign", campaignMethod, campaignRequest("o", 0x15, "one"))
	next("first put", first)
	f, _ := parse(won)
	key, _ := parse([]byte(f.strings[2]))
	rev := key.numbers[3]
	time.Sleep(50 * time.Millisecond)
	for _, value := range []string{"a", "b", ""} {
		t.call("proclaim "+value, proclaimMethod, lockMessage{}.sub(1, leaderKey("o", "o/15", rev, 0x15)).bytes(2, value))
		next("value", first)
	}
	if _, err := t.c.Put(t.ctx, "o/other", "x"); err != nil {
		t.say("put: %v", err)
	}
	second, err := observe(requireLeader(t.ctx), t.conn, "o")
	if err != nil {
		t.say("observe: %v", err)
		return
	}
	next("as it is", second)
	t.revoke(0x15)
	next("next leader", first)
	next("next leader", second)
	first.cancel()
	next("cancelled", first)
	if _, err := t.c.Delete(t.ctx, "o/", clientv3.WithPrefix()); err != nil {
		t.say("delete: %v", err)
	}
	time.Sleep(100 * time.Millisecond)
	if _, err := t.c.Put(t.ctx, "o/last", "y"); err != nil {
		t.say("put: %v", err)
	}
	next("after a pause", second)
	second.cancel()
	ctx, cancel := context.WithTimeout(t.ctx, 300*time.Millisecond)
	defer cancel()
	third, err := observe(ctx, t.conn, "nobody")
	if err != nil {
		t.say("observe: %v", err)
		return
	}
	// The code alone: whether the server's reset or the client's own clock comes first is open.
	_, err = third.next()
	t.say("deadline: %v", status.Code(err))
}

func (t *teller) nonsense() {
	for _, method := range []string{lockMethod, unlockMethod, campaignMethod, proclaimMethod, leaderMethod, resignMethod} {
		t.call("broken "+method, method, lockMessage{0x0a, 0x05, 'x'})
		t.call("other type "+method, method, lockMessage{0x08, 0x05})
	}
	for _, bad := range []lockMessage{{0x0a, 0x05, 'x'}, {0x08, 0x05}} {
		ctx, cancel := context.WithTimeout(t.ctx, 10*time.Second)
		stream, err := t.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, observeMethod, grpc.ForceCodec(bytesCodec{}))
		if err == nil {
			in := []byte(bad)
			err = errors.Join(stream.SendMsg(&in), stream.CloseSend())
			if err == nil {
				var out []byte
				err = stream.RecvMsg(&out)
			}
		}
		t.say("broken observe: %s", told(observeMethod, nil, err))
		cancel()
	}
	t.call("unknown field", lockMethod, lockRequest("u", 0x16).number(9, 5).bytes(10, "x"))
	t.call("its unlock", unlockMethod, lockMessage{}.bytes(1, "u/16").number(9, 5))
	for _, method := range []string{"/v3lockpb.Lock/Nothing", "/v3electionpb.Election/lock", "/v3lockpb.lock/Lock"} {
		t.call("unknown "+method, method, nil)
	}
	t.state("at the end")
}
