// Reads and writes write-ahead logs and snapshot files with etcd's own packages, for the test that compares.
//
//	read DIR INDEX TERM       opens for reading, as etcdutl does, and prints what is in it
//	append DIR INDEX TERM N   opens for append, as a starting member does, adds N entries, closes
//	write DIR N CUT           makes a log with N entries of growing size; a snapshot record after each 10th;
//	                          small segments if CUT is not 0
//	snapshots DIR             prints the snapshot records a member may start from
//	snap DIR                  loads the newest .snap, restores its v2 store, prints the members
//	writesnap DIR             writes a .snap as 3.6 does
package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"sort"
	"strconv"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v2store"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

func check(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func number(i int) uint64 {
	n, err := strconv.ParseUint(os.Args[i], 10, 64)
	check(err)
	return n
}

func print(metadata []byte, state raftpb.HardState, entries []raftpb.Entry) {
	fmt.Println("metadata", hex.EncodeToString(metadata))
	fmt.Println("state", state.Term, state.Vote, state.Commit)
	for _, e := range entries {
		fmt.Println("entry", e.Term, e.Index, int(e.Type), hex.EncodeToString(e.Data))
	}
}

func data(i uint64) []byte {
	b := make([]byte, i*7)
	for k := range b {
		b[k] = byte(i + uint64(k))
	}
	return b
}

func confState() *raftpb.ConfState { return &raftpb.ConfState{Voters: []uint64{7, 9}} }

func appendEntries(w *wal.WAL, from, n uint64) {
	for i := from; i < from+n; i++ {
		check(w.Save(raftpb.HardState{Term: 2, Vote: 7, Commit: i - 1},
			[]raftpb.Entry{{Term: 2, Index: i, Data: data(i)}}))
		if i%10 == 0 {
			check(w.Save(raftpb.HardState{Term: 2, Vote: 7, Commit: i}, nil))
			check(w.SaveSnapshot(walpb.Snapshot{Index: i, Term: 2, ConfState: confState()}))
		}
	}
}

func main() {
	lg := zap.NewNop()
	dir := os.Args[2]
	switch os.Args[1] {
	case "read":
		w, err := wal.OpenForRead(lg, dir, walpb.Snapshot{Index: number(3), Term: number(4)})
		check(err)
		metadata, state, entries, err := w.ReadAll()
		check(err)
		print(metadata, state, entries)
	case "append":
		w, err := wal.Open(lg, dir, walpb.Snapshot{Index: number(3), Term: number(4)})
		check(err)
		metadata, state, entries, err := w.ReadAll()
		check(err)
		print(metadata, state, entries)
		next := number(3) + 1
		if len(entries) > 0 {
			next = entries[len(entries)-1].Index + 1
		}
		appendEntries(w, next, number(5))
		check(w.Close())
	case "write":
		if number(4) != 0 {
			wal.SegmentSizeBytes = 4096
		}
		w, err := wal.Create(lg, dir, []byte("go metadata"))
		check(err)
		appendEntries(w, 1, number(3))
		check(w.Close())
	case "snapshots":
		snapshots, err := wal.ValidSnapshotEntries(lg, dir)
		check(err)
		for _, s := range snapshots {
			fmt.Println("snapshot", s.Index, s.Term, s.ConfState != nil)
		}
	case "snap":
		s, err := snap.New(lg, dir).Load()
		check(err)
		fmt.Println("metadata", s.Metadata.Index, s.Metadata.Term, s.Metadata.ConfState.Voters)
		store := v2store.New("/0", "/1")
		check(store.Recovery(s.Data))
		metaOnly, err := membership.IsMetaStoreOnly(store)
		check(err)
		fmt.Println("meta only", metaOnly)
		cluster := membership.NewCluster(lg)
		cluster.SetStore(store)
		members, removed := cluster.MembersFromStore()
		for _, id := range sorted(members) {
			m := members[id]
			fmt.Printf("member %x %s %v %v %v\n", uint64(m.ID), m.Name, m.PeerURLs, m.ClientURLs, m.IsLearner)
		}
		for _, id := range sorted(removed) {
			fmt.Printf("removed %x\n", uint64(id))
		}
	case "writesnap":
		var members []*membership.Member
		var voters []uint64
		for i, learner := range []bool{false, true} {
			urls, err := types.NewURLs([]string{fmt.Sprintf("http://10.0.0.%d:2380", i+1)})
			check(err)
			m := membership.NewMember(fmt.Sprintf("m%d<&>", i), urls, "token", nil)
			m.IsLearner = learner
			if !learner {
				m.ClientURLs = []string{"http://10.0.0.1:2379"}
				voters = append(voters, uint64(m.ID))
			}
			members = append(members, m)
			fmt.Printf("member %x %s %v %v %v\n", uint64(m.ID), m.Name, m.PeerURLs, m.ClientURLs, m.IsLearner)
		}
		cluster := membership.NewClusterFromMembers(lg, types.ID(1), members)
		check(snap.New(lg, dir).SaveSnap(raftpb.Snapshot{Data: etcdserver.GetMembershipInfoInV2Format(lg, cluster),
			Metadata: raftpb.SnapshotMetadata{Index: 22, Term: 3, ConfState: raftpb.ConfState{Voters: voters}}}))
	}
}

func sorted[V any](m map[types.ID]V) []types.ID {
	out := make([]types.ID, 0, len(m))
	for id := range m {
		out = append(out, id)
	}
	sort.Slice(out, func(i, k int) bool { return out[i] < out[k] })
	return out
}
