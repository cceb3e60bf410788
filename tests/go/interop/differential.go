package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// differential sends one stream of requests to two members, one request at a time to both at once, and compares
// the answers. Both members must be fresh and started with the same name and advertised URLs, so that cluster and
// member IDs, and with them every field, are equal.
type differential struct {
	ctx        context.Context
	ours, real *server
	gen        *generator
	report     *report
	streams    []*watchPair
	keepOurs   pb.Lease_LeaseKeepAliveClient
	keepReal   pb.Lease_LeaseKeepAliveClient
	number     int  // of the request, for messages
	alarms     bool // an alarm may be active: lift it soon
	methods    map[string]int
	skip       map[string]bool
	refused    time.Time      // when a transaction was last refused
	restarts   *bufio.Scanner // the driver's word that both members run again; nil: it restarts nothing
}

// call sends one request to both and compares; canonical puts in order what may come in any. It returns the real
// member's answer.
func call[Req, Resp any](d *differential, method string, req *Req, do func(*server, context.Context, *Req) (*Resp, error),
	canonical func(*Resp)) (*Resp, error) {
	d.number++
	d.methods[method]++
	ctx, cancel := context.WithTimeout(d.ctx, callTimeout)
	defer cancel()
	var a, b *Resp
	var aerr, berr error
	var both sync.WaitGroup
	both.Go(func() { a, aerr = do(d.ours, ctx, req) })
	both.Go(func() { b, berr = do(d.real, ctx, req) })
	both.Wait()
	differences := diffErrors(aerr, berr)
	if len(differences) == 0 && aerr == nil {
		if canonical != nil {
			canonical(a)
			canonical(b)
		}
		differences = diff(a, b)
	}
	for i, f := range differences {
		if i == 5 {
			break
		}
		text := fmt.Sprintf("%+v", req)
		if len(text) > 1500 {
			text = text[:1500] + "…"
		}
		d.report.add("rpc/"+method+"/"+f.field(), fmt.Sprintf("  request %d %s %s\n  %v", d.number, method, text, f))
	}
	return b, berr
}

func (d *differential) note(h *pb.ResponseHeader) {
	if h != nil && h.Revision > d.gen.revision {
		d.gen.revision = h.Revision
	}
}

func (d *differential) kvRange(r *pb.RangeRequest) {
	call(d, "Range", r, func(s *server, ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
		return s.kv.Range(ctx, r)
	}, func(resp *pb.RangeResponse) { canonicalRange(r, resp) })
}

func (d *differential) put(r *pb.PutRequest) {
	resp, err := call(d, "Put", r, func(s *server, ctx context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
		return s.kv.Put(ctx, r)
	}, nil)
	if err == nil {
		d.note(resp.Header)
	}
}

func (d *differential) deleteRange(r *pb.DeleteRangeRequest) {
	resp, err := call(d, "DeleteRange", r, func(s *server, ctx context.Context, r *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
		return s.kv.DeleteRange(ctx, r)
	}, nil)
	if err == nil {
		d.note(resp.Header)
	}
}

func (d *differential) txn(r *pb.TxnRequest) {
	resp, err := call(d, "Txn", r, func(s *server, ctx context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
		return s.kv.Txn(ctx, r)
	}, func(resp *pb.TxnResponse) { canonicalTxn(r, resp) })
	if err == nil {
		d.note(resp.Header)
	} else {
		d.refused = time.Now()
	}
}

func (d *differential) compact(r *pb.CompactionRequest) {
	_, err := call(d, "Compact", r, func(s *server, ctx context.Context, r *pb.CompactionRequest) (*pb.CompactionResponse, error) {
		return s.kv.Compact(ctx, r)
	}, nil)
	if err == nil {
		d.gen.compacted = r.Revision
	}
}

func (d *differential) hashKV(revision int64) {
	call(d, "HashKV", &pb.HashKVRequest{Revision: revision}, func(s *server, ctx context.Context, r *pb.HashKVRequest) (*pb.HashKVResponse, error) {
		return s.maintenance.HashKV(ctx, r)
	}, nil)
}

func (d *differential) hash() {
	call(d, "Hash", &pb.HashRequest{}, func(s *server, ctx context.Context, r *pb.HashRequest) (*pb.HashResponse, error) {
		return s.maintenance.Hash(ctx, r)
	}, nil)
}

func (d *differential) status() {
	call(d, "Status", &pb.StatusRequest{}, func(s *server, ctx context.Context, r *pb.StatusRequest) (*pb.StatusResponse, error) {
		return s.maintenance.Status(ctx, r)
	}, func(r *pb.StatusResponse) {
		// etcd walks a map of its alarms to write these lines.
		sort.Strings(r.Errors)
		// Sizes follow from how each lays out its file, indexes from retries of internal requests: only their
		// relations are fixed.
		ordered := r.RaftAppliedIndex > 0 && r.RaftAppliedIndex <= r.RaftIndex && r.DbSizeInUse > 0 && r.DbSizeInUse <= r.DbSize
		r.RaftIndex, r.RaftAppliedIndex, r.DbSize, r.DbSizeInUse = 0, 0, 0, 0
		if !ordered {
			r.RaftIndex = math.MaxUint64
		}
	})
}

func (d *differential) alarm(r *pb.AlarmRequest) {
	call(d, "Alarm", r, func(s *server, ctx context.Context, r *pb.AlarmRequest) (*pb.AlarmResponse, error) {
		return s.maintenance.Alarm(ctx, r)
	}, canonicalAlarms)
}

func (d *differential) grant(r *pb.LeaseGrantRequest) {
	call(d, "LeaseGrant", r, func(s *server, ctx context.Context, r *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
		return s.lease.LeaseGrant(ctx, r)
	}, nil)
}

func (d *differential) revoke(id int64) {
	resp, err := call(d, "LeaseRevoke", &pb.LeaseRevokeRequest{ID: id}, func(s *server, ctx context.Context, r *pb.LeaseRevokeRequest) (*pb.LeaseRevokeResponse, error) {
		return s.lease.LeaseRevoke(ctx, r)
	}, nil)
	if err == nil {
		d.note(resp.Header)
	}
}

func (d *differential) timeToLive(id int64, keys bool) {
	call(d, "LeaseTimeToLive", &pb.LeaseTimeToLiveRequest{ID: id, Keys: keys}, func(s *server, ctx context.Context, r *pb.LeaseTimeToLiveRequest) (*pb.LeaseTimeToLiveResponse, error) {
		return s.lease.LeaseTimeToLive(ctx, r)
	}, func(r *pb.LeaseTimeToLiveResponse) {
		canonicalTimeToLive(r)
		// Whole seconds left, of leases granted a moment apart.
		if r.GrantedTTL > 0 && r.TTL <= r.GrantedTTL && r.TTL > 0 {
			r.TTL = 1
		}
	})
}

func (d *differential) leases() {
	call(d, "LeaseLeases", &pb.LeaseLeasesRequest{}, func(s *server, ctx context.Context, r *pb.LeaseLeasesRequest) (*pb.LeaseLeasesResponse, error) {
		return s.lease.LeaseLeases(ctx, r)
	}, canonicalLeases)
}

func (d *differential) keepAlive(id int64) {
	call(d, "LeaseKeepAlive", &pb.LeaseKeepAliveRequest{ID: id}, func(s *server, ctx context.Context, r *pb.LeaseKeepAliveRequest) (*pb.LeaseKeepAliveResponse, error) {
		stream := d.keepReal
		if s == d.ours {
			stream = d.keepOurs
		}
		if err := stream.Send(r); err != nil {
			return nil, err
		}
		return stream.Recv()
	}, nil)
}

func (d *differential) memberList(linearizable bool) {
	call(d, "MemberList", &pb.MemberListRequest{Linearizable: linearizable}, func(s *server, ctx context.Context, r *pb.MemberListRequest) (*pb.MemberListResponse, error) {
		return s.cluster.MemberList(ctx, r)
	}, nil)
}

func (d *differential) moveLeader(target uint64) {
	call(d, "MoveLeader", &pb.MoveLeaderRequest{TargetID: target}, func(s *server, ctx context.Context, r *pb.MoveLeaderRequest) (*pb.MoveLeaderResponse, error) {
		return s.maintenance.MoveLeader(ctx, r)
	}, nil)
}

// downgrade with texts that leave the cluster as it is.
func (d *differential) downgrade() {
	actions := []pb.DowngradeRequest_DowngradeAction{pb.DowngradeRequest_VALIDATE, pb.DowngradeRequest_CANCEL, 7}
	versions := []string{"", "3", "v3.5.0", "3.5", "3.5.0", "3.5.1-rc.0", "3.6.0", "3.4.0", "4.0.0", "x.y.z", "3.5.0.0"}
	r := &pb.DowngradeRequest{Action: actions[d.gen.rnd.Intn(3)], Version: versions[d.gen.rnd.Intn(len(versions))]}
	call(d, "Downgrade", r, func(s *server, ctx context.Context, r *pb.DowngradeRequest) (*pb.DowngradeResponse, error) {
		return s.maintenance.Downgrade(ctx, r)
	}, nil)
}

func (d *differential) defragment() {
	call(d, "Defragment", &pb.DefragmentRequest{}, func(s *server, ctx context.Context, r *pb.DefragmentRequest) (*pb.DefragmentResponse, error) {
		return s.maintenance.Defragment(ctx, r)
	}, nil)
}

func (d *differential) randomLease() {
	g := d.gen
	id := g.leaseID()
	switch g.rnd.Intn(6) {
	case 0, 1:
		if g.chance(15) {
			// Too short to live beside the run: gone at once. A short one with the ID of a living lease is refused,
			// and the revoke then takes that one, on both members alike.
			d.grant(&pb.LeaseGrantRequest{ID: id, TTL: []int64{0, -1, 1, math.MinInt64}[g.rnd.Intn(4)]})
			d.revoke(id)
			return
		}
		d.grant(&pb.LeaseGrantRequest{ID: id, TTL: []int64{5000, 100000, 9000000000, 9000000001, math.MaxInt64}[g.rnd.Intn(5)]})
	case 2:
		if g.chance(30) {
			d.revoke([]int64{id, 0}[g.rnd.Intn(2)])
		} else {
			d.keepAlive(id)
		}
	case 3:
		d.timeToLive(id, g.chance(60))
	case 4:
		d.leases()
	case 5:
		d.keepAlive(id)
	}
}

func (d *differential) randomAlarm() {
	g := d.gen
	r := &pb.AlarmRequest{MemberID: []uint64{0, 55, 56}[g.rnd.Intn(3)], Alarm: []pb.AlarmType{0, 1, 1, 2, 7}[g.rnd.Intn(5)]}
	if g.chance(50) {
		r.Action = pb.AlarmRequest_ACTIVATE
		d.alarms = d.alarms || r.Alarm != 0
	} else if g.chance(50) {
		r.Action = pb.AlarmRequest_DEACTIVATE
	}
	d.alarm(r)
}

func (d *differential) liftAlarms() {
	for _, member := range []uint64{0, 55, 56} {
		for _, alarm := range []pb.AlarmType{1, 2, 7} {
			d.alarm(&pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, MemberID: member, Alarm: alarm})
		}
	}
	d.alarms = false
}

func (d *differential) randomWatch() error {
	g := d.gen
	at := fmt.Sprintf("before request %d", d.number+1)
	if g.chance(40) {
		p := d.streams[g.rnd.Intn(len(d.streams))]
		if err := p.compare(d.report, g.revision, at); err != nil {
			return err
		}
		if len(p.alive) > 0 && g.chance(85) {
			i := g.rnd.Intn(len(p.alive))
			id := p.alive[i]
			p.alive = append(p.alive[:i], p.alive[i+1:]...)
			if err := p.cancel(id, true); err != nil {
				return err
			}
		} else if err := p.cancel(9999, false); err != nil {
			return err
		}
		return p.compare(d.report, g.revision, at)
	}
	w := g.watchCreate()
	p := d.streams[g.rnd.Intn(len(d.streams)-1)]
	if w.StartRevision > g.revision || (w.StartRevision > 0 && w.StartRevision <= g.compacted) || w.StartRevision < 0 {
		p = d.streams[len(d.streams)-1]
	}
	if err := p.compare(d.report, g.revision, at); err != nil {
		return err
	}
	if err := p.create(w); err != nil {
		return err
	}
	if err := p.compare(d.report, g.revision, fmt.Sprintf("%s, watch create %+v", at, w)); err != nil {
		return err
	}
	for len(p.alive) > 25 {
		if err := p.cancel(p.alive[0], true); err != nil {
			return err
		}
		p.alive = p.alive[1:]
	}
	return nil
}

func (d *differential) compareWatches(context string) error {
	for _, p := range d.streams {
		if err := p.compare(d.report, d.gen.revision, context); err != nil {
			return err
		}
	}
	return nil
}

func (d *differential) step() error {
	g := d.gen
	switch n := g.rnd.Intn(1000); {
	case n < 270:
		d.kvRange(g.rangeRequest())
	case n < 520:
		d.put(g.putRequest())
	case n < 570:
		d.deleteRange(g.deleteRequest())
	case n < 800:
		d.txn(g.txnRequest())
	case n < 880:
		d.randomLease()
	case n < 920:
		return d.randomWatch()
	case n < 932:
		d.compact(g.compactRequest())
	case n < 950:
		d.hashKV(g.revisionNear())
	case n < 955:
		d.hash()
	case n < 965:
		d.status()
	case n < 972:
		d.randomAlarm()
	case n < 980:
		d.memberList(g.chance(50))
	case n < 983:
		d.moveLeader([]uint64{0, 55}[g.rnd.Intn(2)])
	case n < 988:
		d.downgrade()
	case n < 990:
		d.defragment()
	default:
		return d.compareWatches(fmt.Sprintf("before request %d", d.number+1))
	}
	if d.alarms && g.chance(12) {
		d.liftAlarms()
	}
	return nil
}

// restart asks the driver to stop and start both members, and goes on with new streams: what they kept on disk
// must be the same.
func (d *differential) restart(how string) error {
	if err := d.compareWatches("before a restart"); err != nil {
		return err
	}
	// A transaction that etcd refuses may change its state when it is read from the log again (differences.md). Its
	// entry is not read again once the database has it, 100 ms later.
	if wait := time.Until(d.refused.Add(500 * time.Millisecond)); wait > 0 {
		time.Sleep(wait)
	}
	fmt.Println("RESTART", how)
	if !d.restarts.Scan() {
		return errors.New("the driver did not answer")
	}
	for _, s := range []*server{d.ours, d.real} {
		ctx, cancel := context.WithTimeout(d.ctx, callTimeout)
		_, err := s.maintenance.Status(ctx, &pb.StatusRequest{}, grpc.WaitForReady(true))
		cancel()
		if err != nil {
			return fmt.Errorf("%s after a restart: %w", s.name, err)
		}
	}
	if err := d.open(); err != nil {
		return err
	}
	d.status()
	d.hashKV(0)
	d.hash()
	d.alarm(&pb.AlarmRequest{})
	d.leases()
	d.kvRange(&pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	return nil
}

// open begins the long-lived streams.
func (d *differential) open() error {
	var err error
	if d.keepOurs, err = d.ours.lease.LeaseKeepAlive(d.ctx); err != nil {
		return err
	}
	if d.keepReal, err = d.real.lease.LeaseKeepAlive(d.ctx); err != nil {
		return err
	}
	d.streams = nil
	for i := range 3 {
		p, err := openWatchPair(d.ctx, d.ours, d.real, i == 2)
		if err != nil {
			return err
		}
		d.streams = append(d.streams, p)
	}
	return d.compareWatches("new streams")
}

func (d *differential) run(requests int) error {
	if err := d.open(); err != nil {
		return err
	}
	restarts := []string{"SIGTERM", "SIGKILL", "SIGKILL", "SIGTERM"}
	for d.number < requests {
		if done := len(restarts); d.restarts != nil && done > 0 && d.number > requests*(5-done)/5 {
			how := restarts[0]
			restarts = restarts[1:]
			if err := d.restart(how); err != nil {
				return err
			}
		}
		if err := d.step(); err != nil {
			return fmt.Errorf("request %d: %w", d.number, err)
		}
		if err := d.reachable(); err != nil {
			return err
		}
		if d.number%200 == 0 {
			d.hashKV(0)
		}
	}
	d.liftAlarms()
	if err := d.compareWatches("at the end"); err != nil {
		return err
	}
	d.hashKV(0)
	d.hash()
	d.kvRange(&pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	return nil
}

// reachable ends the run when a member is gone: all further differences would say the same.
func (d *differential) reachable() error {
	if d.number%50 != 0 {
		return nil
	}
	for _, s := range []*server{d.ours, d.real} {
		ctx, cancel := context.WithTimeout(d.ctx, callTimeout)
		_, err := s.maintenance.Status(ctx, &pb.StatusRequest{})
		cancel()
		if code := status.Code(err); code == codes.Unavailable || code == codes.DeadlineExceeded {
			return fmt.Errorf("%s no longer answers: %w", s.name, err)
		}
	}
	return nil
}

func runDifferential(args []string) error {
	flags := flag.NewFlagSet("differential", flag.ExitOnError)
	ours := flags.String("ours", "", "HOST:PORT of the member under test")
	real := flags.String("real", "", "HOST:PORT of the real etcd")
	known := flags.String("known", "", "list of known differences")
	requests := flags.Int("requests", 3000, "random requests to send")
	seed := flags.Int64("seed", time.Now().UnixNano(), "of the requests")
	skip := flags.String("skip", "", "scenarios to leave out, separated by commas (to look behind a known failure)")
	restarts := flags.Bool("restarts", false, "ask for restarts of both members: RESTART SIGNAL, answered by a line")
	_ = flags.Parse(args)

	fmt.Printf("seed %d, %d requests\n", *seed, *requests)
	r, err := newReport(*known)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	d := &differential{ctx: ctx, gen: newGenerator(*seed), report: r, methods: map[string]int{}, skip: map[string]bool{}}
	for _, name := range strings.Split(*skip, ",") {
		d.skip[name] = true
	}
	if *restarts {
		d.restarts = bufio.NewScanner(os.Stdin)
	}
	if d.ours, err = dial("ours", *ours); err != nil {
		return err
	}
	if d.real, err = dial("real", *real); err != nil {
		return err
	}
	if err := d.run(*requests); err != nil {
		_ = r.finish("so far")
		return err
	}
	fmt.Println("requests:", d.methods)
	if err := d.scenarios(); err != nil {
		_ = r.finish("so far")
		return err
	}
	return r.finish("differential run")
}
