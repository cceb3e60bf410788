package main

import (
	"fmt"
	"math"
	"math/rand"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// generator draws requests, valid and invalid, over a small set of keys so that they meet. It knows of the store
// what the real member's answers told: revisions near the interesting borders are drawn often.
type generator struct {
	rnd       *rand.Rand
	revision  int64
	compacted int64
	// Requests that stop a real etcd for good must not be drawn (api-semantics, "poison requests"): a delete with
	// an open end beside a put with ignore_value or ignore_lease. Each txn draws one of the two.
	openDeletes, ignoring bool
}

func newGenerator(seed int64) *generator {
	return &generator{rnd: rand.New(rand.NewSource(seed)), revision: 1, compacted: -1, openDeletes: true, ignoring: true}
}

func (g *generator) chance(percent int) bool { return g.rnd.Intn(100) < percent }

func (g *generator) key() []byte {
	switch n := g.rnd.Intn(100); {
	case n < 60:
		return fmt.Appendf(nil, "k%02d", g.rnd.Intn(40))
	case n < 80:
		return fmt.Appendf(nil, "dir/%c/%d", 'a'+g.rnd.Intn(3), g.rnd.Intn(5))
	case n < 90:
		b := make([]byte, 1+g.rnd.Intn(2))
		for i := range b {
			b[i] = "\x00\x01a\x7f\x80\xfe\xff"[g.rnd.Intn(7)]
		}
		return b
	case n < 95:
		return []byte{"k\x00d"[g.rnd.Intn(3)]}
	case n < 98:
		return nil
	default:
		return fmt.Appendf(nil, "long/%0*d", 200+g.rnd.Intn(800), g.rnd.Intn(3))
	}
}

func prefixEnd(key []byte) []byte {
	end := append([]byte(nil), key...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return []byte{0}
}

func (g *generator) rangeEnd(key []byte) []byte {
	switch n := g.rnd.Intn(100); {
	case n < 40:
		return nil
	case n < 55:
		return []byte{0}
	case n < 75:
		return prefixEnd(key)
	case n < 80:
		return key
	default:
		return g.key()
	}
}

func (g *generator) value() []byte {
	switch n := g.rnd.Intn(100); {
	case n < 10:
		return nil
	case n < 97:
		return fmt.Appendf(nil, "v%d-%0*d", g.rnd.Intn(5), 1+g.rnd.Intn(60), g.rnd.Intn(1000))
	default:
		return fmt.Appendf(nil, "%0*d", 1000+g.rnd.Intn(100_000), 7)
	}
}

func (g *generator) leaseID() int64 {
	switch n := g.rnd.Intn(100); {
	case n < 70:
		return int64(1 + g.rnd.Intn(8))
	case n < 80:
		return -int64(1 + g.rnd.Intn(3))
	case n < 90:
		return math.MaxInt64 - int64(g.rnd.Intn(2))
	default:
		return int64(100 + g.rnd.Intn(3)) // never granted
	}
}

// revisionNear draws a revision of a read: head, the borders, and all between.
func (g *generator) revisionNear() int64 {
	switch n := g.rnd.Intn(100); {
	case n < 55:
		return 0
	case n < 60:
		return -int64(1 + g.rnd.Intn(3))
	case n < 70:
		return g.compacted + int64(g.rnd.Intn(3)) - 1
	case n < 80:
		return g.revision + int64(g.rnd.Intn(3)) - 1
	case n < 98:
		return max(g.compacted, 0) + g.rnd.Int63n(max(g.revision-max(g.compacted, 0), 1))
	default:
		return []int64{math.MaxInt64, math.MinInt64, g.revision + 100}[g.rnd.Intn(3)]
	}
}

func (g *generator) bound() int64 {
	if !g.chance(6) {
		return 0
	}
	return []int64{-1, 1, g.rnd.Int63n(g.revision + 2), g.revision, math.MaxInt64}[g.rnd.Intn(5)]
}

func (g *generator) rangeRequest() *pb.RangeRequest {
	r := &pb.RangeRequest{Key: g.key(), Revision: g.revisionNear(),
		Serializable: g.chance(50), KeysOnly: g.chance(15), CountOnly: g.chance(15),
		MinModRevision: g.bound(), MaxModRevision: g.bound(), MinCreateRevision: g.bound(), MaxCreateRevision: g.bound()}
	r.RangeEnd = g.rangeEnd(r.Key)
	if g.chance(40) {
		r.Limit = []int64{1, 2, 3, 10, 1000, -1, math.MaxInt64, math.MinInt64}[g.rnd.Intn(8)]
	}
	if g.chance(30) {
		r.SortOrder = pb.RangeRequest_SortOrder(g.rnd.Intn(3))
		r.SortTarget = pb.RangeRequest_SortTarget(g.rnd.Intn(5))
	}
	if g.chance(2) {
		r.SortOrder = []pb.RangeRequest_SortOrder{3, -1, 77}[g.rnd.Intn(3)]
	}
	if g.chance(2) {
		r.SortTarget = []pb.RangeRequest_SortTarget{5, -1, 77}[g.rnd.Intn(3)]
	}
	return r
}

func (g *generator) putRequest() *pb.PutRequest {
	r := &pb.PutRequest{Key: g.key(), Value: g.value(), PrevKv: g.chance(30)}
	if g.chance(20) {
		r.Lease = g.leaseID()
	}
	if g.ignoring && g.chance(15) {
		r.IgnoreValue = true
		if g.chance(80) {
			r.Value = nil
		}
	}
	if g.ignoring && g.chance(15) {
		r.IgnoreLease = true
		if g.chance(80) {
			r.Lease = 0
		}
	}
	return r
}

func (g *generator) deleteRequest() *pb.DeleteRangeRequest {
	r := &pb.DeleteRangeRequest{Key: g.key(), PrevKv: g.chance(40)}
	if g.chance(35) {
		r.RangeEnd = g.rangeEnd(r.Key)
		// Deleting nearly everything must stay the exception, or the store is always empty.
		if len(r.RangeEnd) == 1 && r.RangeEnd[0] == 0 && (!g.openDeletes || g.chance(70)) {
			r.RangeEnd = nil
		}
	}
	return r
}

func (g *generator) compare() *pb.Compare {
	c := &pb.Compare{Key: g.key(), Result: pb.Compare_CompareResult(g.rnd.Intn(4)), Target: pb.Compare_CompareTarget(g.rnd.Intn(5))}
	if g.chance(25) {
		c.RangeEnd = g.rangeEnd(c.Key)
	}
	union := c.Target
	if g.chance(8) {
		union = pb.Compare_CompareTarget(g.rnd.Intn(6)) // another member than the target's, or none
	}
	number := []int64{0, 1, 2, g.revision, g.rnd.Int63n(g.revision + 1), -1}[g.rnd.Intn(6)]
	switch union {
	case pb.Compare_VERSION:
		c.TargetUnion = &pb.Compare_Version{Version: number}
	case pb.Compare_CREATE:
		c.TargetUnion = &pb.Compare_CreateRevision{CreateRevision: number}
	case pb.Compare_MOD:
		c.TargetUnion = &pb.Compare_ModRevision{ModRevision: number}
	case pb.Compare_VALUE:
		c.TargetUnion = &pb.Compare_Value{Value: g.value()}
	case pb.Compare_LEASE:
		c.TargetUnion = &pb.Compare_Lease{Lease: g.leaseID()}
	}
	if g.chance(2) {
		c.Target = []pb.Compare_CompareTarget{5, -1, 99}[g.rnd.Intn(3)]
	}
	if g.chance(2) {
		c.Result = []pb.Compare_CompareResult{4, -1, 99}[g.rnd.Intn(3)]
	}
	return c
}

func (g *generator) ops(depth int) []*pb.RequestOp {
	n := g.rnd.Intn(5)
	if g.chance(1) {
		n = 120 + g.rnd.Intn(12)
	}
	readOnly := g.chance(20)
	ops := make([]*pb.RequestOp, 0, n)
	for range n {
		op := &pb.RequestOp{}
		switch d := g.rnd.Intn(100); {
		case d < 1:
		case readOnly || d < 35:
			r := g.rangeRequest()
			if g.chance(70) {
				r.Revision = 0 // any failing range refuses the whole txn
			}
			op.Request = &pb.RequestOp_RequestRange{RequestRange: r}
		case d < 70:
			p := g.putRequest()
			if n > 100 {
				p.Key = fmt.Appendf(nil, "many/%03d", len(ops))
			}
			op.Request = &pb.RequestOp_RequestPut{RequestPut: p}
		case d < 85 || depth == 0:
			op.Request = &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: g.deleteRequest()}
		default:
			op.Request = &pb.RequestOp_RequestTxn{RequestTxn: g.txn(depth - 1)}
		}
		ops = append(ops, op)
	}
	return ops
}

func (g *generator) txn(depth int) *pb.TxnRequest {
	t := &pb.TxnRequest{}
	for range g.rnd.Intn(3) {
		t.Compare = append(t.Compare, g.compare())
	}
	t.Success = g.ops(depth)
	t.Failure = g.ops(depth)
	return t
}

func (g *generator) txnRequest() *pb.TxnRequest {
	g.ignoring = g.chance(50)
	g.openDeletes = !g.ignoring
	t := g.txn(2)
	g.ignoring, g.openDeletes = true, true
	return t
}

func (g *generator) compactRequest() *pb.CompactionRequest {
	r := &pb.CompactionRequest{Physical: true}
	switch n := g.rnd.Intn(10); {
	case n < 6:
		r.Revision = max(g.compacted, 0) + g.rnd.Int63n(max(g.revision-max(g.compacted, 0), 1))
	case n < 7:
		r.Revision = g.revision
	default:
		r.Revision = []int64{0, -1, g.compacted, g.revision + 1, math.MaxInt64, math.MinInt64}[g.rnd.Intn(6)]
	}
	return r
}

func (g *generator) watchCreate() *pb.WatchCreateRequest {
	w := &pb.WatchCreateRequest{Key: g.key(), PrevKv: g.chance(40), Fragment: g.chance(20), ProgressNotify: g.chance(20)}
	w.RangeEnd = g.rangeEnd(w.Key)
	if g.chance(40) {
		w.RangeEnd = []byte{0}
	}
	switch n := g.rnd.Intn(100); {
	case n < 45:
	case n < 75:
		w.StartRevision = max(g.compacted, 1) + g.rnd.Int63n(max(g.revision-max(g.compacted, 1), 1))
	case n < 85:
		w.StartRevision = g.compacted + int64(g.rnd.Intn(4)) - 2
	default:
		w.StartRevision = g.revision + int64(g.rnd.Intn(6)) - 1
	}
	if g.chance(3) {
		w.StartRevision = []int64{-1, math.MinInt64, math.MaxInt64}[g.rnd.Intn(3)]
	}
	if g.chance(25) {
		w.Filters = append(w.Filters, pb.WatchCreateRequest_FilterType(g.rnd.Intn(2)))
	}
	if g.chance(3) {
		w.Filters = append(w.Filters, 9)
	}
	if g.chance(10) {
		w.WatchId = []int64{-5, 100, 101, 102, 3, 7}[g.rnd.Intn(6)]
	}
	return w
}
