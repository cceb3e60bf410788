package main

import (
	"bytes"
	"sort"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// What etcd leaves unordered is put in order here before two answers are compared: keys that tie in a sorted
// range, keys of a lease, alarms. Nothing else is touched.

func canonicalRange(req *pb.RangeRequest, resp *pb.RangeResponse) {
	if req == nil || resp == nil || req.SortTarget == pb.RangeRequest_KEY {
		return
	}
	tie := func(a, b *mvccpb.KeyValue) bool {
		switch req.SortTarget {
		case pb.RangeRequest_VERSION:
			return a.Version == b.Version
		case pb.RangeRequest_CREATE:
			return a.CreateRevision == b.CreateRevision
		case pb.RangeRequest_MOD:
			return a.ModRevision == b.ModRevision
		default:
			// With keys_only the values are gone: all keys might tie.
			return req.KeysOnly || bytes.Equal(a.Value, b.Value)
		}
	}
	kvs := resp.Kvs
	for lo := 0; lo < len(kvs); {
		hi := lo + 1
		for hi < len(kvs) && tie(kvs[lo], kvs[hi]) {
			hi++
		}
		group := kvs[lo:hi]
		sort.Slice(group, func(i, j int) bool { return bytes.Compare(group[i].Key, group[j].Key) < 0 })
		// A limit may cut a group of ties anywhere.
		if hi == len(kvs) && resp.More && req.Limit > 0 {
			for i := range group {
				group[i] = nil
			}
		}
		lo = hi
	}
}

func canonicalTxn(req *pb.TxnRequest, resp *pb.TxnResponse) {
	if req == nil || resp == nil {
		return
	}
	ops := req.Failure
	if resp.Succeeded {
		ops = req.Success
	}
	for i, r := range resp.Responses {
		if i >= len(ops) {
			return
		}
		canonicalRange(ops[i].GetRequestRange(), r.GetResponseRange())
		canonicalTxn(ops[i].GetRequestTxn(), r.GetResponseTxn())
	}
}

func canonicalAlarms(resp *pb.AlarmResponse) {
	sort.Slice(resp.Alarms, func(i, j int) bool {
		a, b := resp.Alarms[i], resp.Alarms[j]
		return a.MemberID < b.MemberID || (a.MemberID == b.MemberID && a.Alarm < b.Alarm)
	})
}

func canonicalLeases(resp *pb.LeaseLeasesResponse) {
	sort.Slice(resp.Leases, func(i, j int) bool { return resp.Leases[i].ID < resp.Leases[j].ID })
}

func canonicalTimeToLive(resp *pb.LeaseTimeToLiveResponse) {
	sort.Slice(resp.Keys, func(i, j int) bool { return bytes.Compare(resp.Keys[i], resp.Keys[j]) < 0 })
}
