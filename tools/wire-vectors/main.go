// Writes the vectors of src/wire/testdata: inputs, and what etcd's own decoders and encoders make of them.
//
//	go run . > ../../src/wire/testdata/go_vectors.txt
//
// A line is "<message> <input hex> = <output hex>" or "<message> <input hex> ! <error>", "-" standing for no
// bytes. Inputs are made from the messages' struct tags with a fixed seed: every field with every wire type, well
// formed messages in odd orders and forms, and damaged ones.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand"
	"os"
	"reflect"
	"sort"
	"strconv"
	"strings"

	"github.com/golang/protobuf/proto"

	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/membershippb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/snap/snappb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"go.etcd.io/etcd/server/v3/lease/leasepb"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
)

type message interface {
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

// Messages that others lead to are found through their fields.
var roots = []any{
	&authpb.User{}, &authpb.Role{}, &membershippb.Member{}, &mvccpb.Event{}, &snappb.Snapshot{}, &leasepb.Lease{},
	&leasepb.LeaseInternalRequest{}, &leasepb.LeaseInternalResponse{}, &walpb.Record{}, &walpb.Snapshot{},
	&raftpb.Message{}, &raftpb.HardState{}, &raftpb.ConfChange{}, &raftpb.ConfChangeV2{},
	&v3lockpb.LockRequest{}, &v3lockpb.LockResponse{}, &v3lockpb.UnlockRequest{}, &v3lockpb.UnlockResponse{},
	&v3electionpb.CampaignRequest{}, &v3electionpb.CampaignResponse{}, &v3electionpb.LeaderRequest{},
	&v3electionpb.LeaderResponse{}, &v3electionpb.ResignRequest{}, &v3electionpb.ResignResponse{},
	&v3electionpb.ProclaimRequest{}, &v3electionpb.ProclaimResponse{},
	&etcdserverpb.InternalRaftRequest{}, &etcdserverpb.EmptyResponse{}, &etcdserverpb.Metadata{},
	&etcdserverpb.RangeResponse{}, &etcdserverpb.TxnResponse{}, &etcdserverpb.CompactionResponse{},
	&etcdserverpb.HashRequest{}, &etcdserverpb.HashResponse{}, &etcdserverpb.HashKVRequest{},
	&etcdserverpb.HashKVResponse{}, &etcdserverpb.SnapshotRequest{}, &etcdserverpb.SnapshotResponse{},
	&etcdserverpb.WatchRequest{}, &etcdserverpb.WatchResponse{}, &etcdserverpb.LeaseGrantResponse{},
	&etcdserverpb.LeaseRevokeResponse{}, &etcdserverpb.LeaseCheckpointResponse{},
	&etcdserverpb.LeaseKeepAliveRequest{}, &etcdserverpb.LeaseKeepAliveResponse{},
	&etcdserverpb.LeaseTimeToLiveRequest{}, &etcdserverpb.LeaseTimeToLiveResponse{},
	&etcdserverpb.LeaseLeasesRequest{}, &etcdserverpb.LeaseLeasesResponse{}, &etcdserverpb.MemberAddRequest{},
	&etcdserverpb.MemberAddResponse{}, &etcdserverpb.MemberRemoveRequest{}, &etcdserverpb.MemberRemoveResponse{},
	&etcdserverpb.MemberUpdateRequest{}, &etcdserverpb.MemberUpdateResponse{}, &etcdserverpb.MemberListRequest{},
	&etcdserverpb.MemberListResponse{}, &etcdserverpb.MemberPromoteRequest{}, &etcdserverpb.MemberPromoteResponse{},
	&etcdserverpb.DefragmentRequest{}, &etcdserverpb.DefragmentResponse{}, &etcdserverpb.MoveLeaderRequest{},
	&etcdserverpb.MoveLeaderResponse{}, &etcdserverpb.AlarmResponse{}, &etcdserverpb.DowngradeRequest{},
	&etcdserverpb.DowngradeResponse{}, &etcdserverpb.StatusRequest{}, &etcdserverpb.StatusResponse{},
	&etcdserverpb.AuthenticateRequest{}, &etcdserverpb.AuthEnableResponse{}, &etcdserverpb.AuthDisableResponse{},
	&etcdserverpb.AuthStatusResponse{}, &etcdserverpb.AuthenticateResponse{}, &etcdserverpb.AuthUserAddResponse{},
	&etcdserverpb.AuthUserGetResponse{}, &etcdserverpb.AuthUserDeleteResponse{},
	&etcdserverpb.AuthUserChangePasswordResponse{}, &etcdserverpb.AuthUserGrantRoleResponse{},
	&etcdserverpb.AuthUserRevokeRoleResponse{}, &etcdserverpb.AuthRoleAddResponse{},
	&etcdserverpb.AuthRoleGetResponse{}, &etcdserverpb.AuthRoleListResponse{}, &etcdserverpb.AuthUserListResponse{},
	&etcdserverpb.AuthRoleDeleteResponse{}, &etcdserverpb.AuthRoleGrantPermissionResponse{},
	&etcdserverpb.AuthRoleRevokePermissionResponse{},
}

type field struct {
	number   uint64
	kind     string // "varint" or "bytes"
	repeated bool
	sub      reflect.Type // of a message field
}

func fieldOf(f reflect.StructField) (field, bool) {
	tag, ok := f.Tag.Lookup("protobuf")
	if !ok {
		return field{}, false
	}
	parts := strings.Split(tag, ",")
	number, err := strconv.ParseUint(parts[1], 10, 32)
	if err != nil {
		panic(err)
	}
	t := f.Type
	if t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8 {
		t = t.Elem()
	}
	if t.Kind() == reflect.Ptr {
		t = t.Elem()
	}
	out := field{number: number, kind: parts[0], repeated: parts[2] == "rep"}
	if t.Kind() == reflect.Struct {
		out.sub = t
	}
	return out, true
}

func fieldsOf(t reflect.Type) (out []field) {
	for i := 0; i < t.NumField(); i++ {
		if f, ok := fieldOf(t.Field(i)); ok {
			out = append(out, f)
		}
	}
	if m, ok := reflect.New(t).Interface().(interface{ XXX_OneofWrappers() []any }); ok {
		for _, w := range m.XXX_OneofWrappers() {
			if f, ok := fieldOf(reflect.TypeOf(w).Elem().Field(0)); ok {
				out = append(out, f)
			}
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].number < out[j].number })
	return out
}

func collect(t reflect.Type, seen map[reflect.Type]bool) {
	if seen[t] {
		return
	}
	seen[t] = true
	for _, f := range fieldsOf(t) {
		if f.sub != nil {
			collect(f.sub, seen)
		}
	}
}

func varint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }
func tag(b []byte, number, wireType uint64) []byte {
	return varint(b, number<<3|wireType)
}
func delimited(b []byte, number uint64, inside []byte) []byte {
	return append(varint(tag(b, number, 2), uint64(len(inside))), inside...)
}

type maker struct{ *rand.Rand }

func (r maker) value() uint64 {
	switch r.Intn(6) {
	case 0:
		return 0
	case 1:
		return uint64(r.Intn(3))
	case 2:
		return uint64(r.Intn(300))
	case 3:
		return r.Uint64()
	case 4:
		return ^uint64(0)
	}
	return 1 << r.Intn(64)
}

func (r maker) bytes() []byte {
	b := make([]byte, r.Intn(4))
	r.Read(b)
	return b
}

// A well formed encoding. Odd ones repeat fields, pack what is usually not packed and the other way round, and
// hold fields nobody knows.
func (r maker) message(t reflect.Type, depth int, odd bool) (out []byte) {
	fields := fieldsOf(t)
	if odd {
		r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	}
	keep := 3
	if len(fields) > 8 {
		keep = 1
	}
	for _, f := range fields {
		if r.Intn(4) >= keep {
			continue
		}
		times := 1
		if f.repeated || (odd && r.Intn(4) == 0) {
			times = r.Intn(3)
		}
		if f.sub != nil {
			if depth >= 3 {
				continue
			}
			for i := 0; i < times; i++ {
				out = delimited(out, f.number, r.message(f.sub, depth+1, odd && f.sub.Name() != "KeyValue"))
			}
			continue
		}
		if f.kind == "varint" && f.repeated && r.Intn(2) == 0 {
			var run []byte
			for i := 0; i < times; i++ {
				run = varint(run, r.value())
			}
			out = delimited(out, f.number, run)
			continue
		}
		for i := 0; i < times; i++ {
			if f.kind == "varint" {
				out = varint(tag(out, f.number, 0), r.value())
			} else {
				out = delimited(out, f.number, r.bytes())
			}
		}
	}
	if odd && r.Intn(2) == 0 {
		out = append(out, r.unknown(0)...)
	}
	return out
}

func (r maker) unknown(depth int) (out []byte) {
	number := uint64(2000 + r.Intn(20000))
	switch r.Intn(5) {
	case 0:
		return varint(tag(out, number, 0), r.value())
	case 1:
		return append(tag(out, number, 1), 1, 2, 3, 4, 5, 6, 7, 8)
	case 2:
		return delimited(out, number, r.bytes())
	case 3:
		return append(tag(out, number, 5), 1, 2, 3, 4)
	}
	out = tag(out, number, 3)
	if depth < 2 {
		out = append(out, r.unknown(depth+1)...)
	}
	return tag(out, number, 4)
}

func (r maker) damage(b []byte) []byte {
	b = append([]byte(nil), b...)
	if len(b) == 0 {
		return []byte{byte(r.Intn(256))}
	}
	at := r.Intn(len(b))
	switch r.Intn(4) {
	case 0:
		return b[:at]
	case 1:
		b[at] = byte(r.Intn(256))
	case 2:
		b[at] ^= 1 << r.Intn(8)
	case 3:
		b = append(b[:at], append([]byte{byte(r.Intn(256))}, b[at:]...)...)
	}
	return b
}

// Damage in known ways, for one message; `number` is one of its fields that holds bytes.
func fixedInputs(number uint64) (out [][]byte) {
	add := func(parts ...[]byte) {
		var b []byte
		for _, p := range parts {
			b = append(b, p...)
		}
		out = append(out, b)
	}
	endless := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	maxLength := varint(nil, 1<<63-1)
	add([]byte{0})
	add([]byte{0x02})
	add([]byte{0x07})
	add(varint(nil, 1<<35))                             // number beyond 32 bits, cut to zero
	add(varint(nil, 1<<34|2))                           // cut to a negative number
	add(varint(nil, 1<<35|number<<3|2), []byte{1, 'k'}) // cut to a known number
	add(endless[:9])
	add(endless)
	add(endless, []byte{1})
	add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	add([]byte{0x0c})
	add(tag(nil, 900, 4))
	for _, n := range []uint64{number, 900} {
		add(tag(nil, n, 2))
		add(tag(nil, n, 2), []byte{5, 1})
		add(tag(nil, n, 2), endless)
		add(tag(nil, n, 2), endless[:9])
		add(tag(nil, n, 2), maxLength)
		add(tag(nil, n, 2), varint(nil, 1<<63))
		add(tag(nil, n, 2), varint(nil, 1<<63-20))
		add(tag(nil, 901, 0), []byte{1}, tag(nil, n, 2), varint(nil, 1<<63-20))
	}
	for wireType := uint64(0); wireType < 8; wireType++ {
		add(tag(nil, 900, wireType))
		add(tag(nil, 900, wireType), []byte{1})
		add(tag(nil, 900, wireType), endless)
	}
	add(tag(nil, 900, 3), tag(nil, 5, 4))                 // ends with another number
	add(tag(nil, 900, 3), []byte{0, 0}, tag(nil, 900, 4)) // number 0 inside
	add(tag(nil, 900, 3), tag(nil, 1, 2), maxLength)      // length beyond everything inside
	add(tag(nil, 900, 3), tag(nil, 1, 2), varint(nil, 1<<63-9))
	add(tag(nil, 901, 0), []byte{1}, tag(nil, 900, 3), tag(nil, 1, 2), varint(nil, 1<<63-9))
	add(tag(nil, 900, 3), tag(nil, 1, 1), []byte{1})
	add(tag(nil, 900, 3), tag(nil, 900, 3), tag(nil, 900, 4))
	add(tag(nil, 900, 3), []byte{0x0f})
	return out
}

func hexOrDash(b []byte) string {
	if len(b) == 0 {
		return "-"
	}
	return hex.EncodeToString(b)
}

func main() {
	seen := map[reflect.Type]bool{}
	for _, m := range roots {
		collect(reflect.TypeOf(m).Elem(), seen)
	}
	types := map[string]reflect.Type{}
	var names []string
	for t := range seen {
		name := proto.MessageName(reflect.New(t).Interface().(proto.Message))
		types[name] = t
		names = append(names, name)
	}
	sort.Strings(names)

	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	said := map[string]bool{}
	say := func(name string, in []byte) {
		if len(in) > 96 {
			return
		}
		key := name + " " + hexOrDash(in)
		if said[key] {
			return
		}
		said[key] = true
		m := reflect.New(types[name]).Interface().(message)
		if err := m.Unmarshal(in); err != nil {
			fmt.Fprintf(out, "%s ! %s\n", key, err)
			return
		}
		b, err := m.Marshal()
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(out, "%s = %s\n", key, hexOrDash(b))
	}

	r := maker{rand.New(rand.NewSource(1))}
	for _, name := range names {
		t := types[name]
		say(name, nil)
		say(name, []byte{0})
		say(name, []byte{0x0c})
		for i, f := range fieldsOf(t) {
			for wireType := uint64(0); wireType < 8; wireType++ {
				if i > 0 && wireType > 2 {
					break
				}
				say(name, append(tag(nil, f.number, wireType), 0))
			}
		}
		for i := 0; i < 4; i++ {
			say(name, r.message(t, 0, false))
			b := r.message(t, 0, true)
			say(name, b)
			say(name, r.damage(b))
			say(name, r.damage(b))
		}
	}
	for _, f := range []struct {
		name   string
		number uint64
	}{{"etcdserverpb.PutRequest", 1}, {"etcdserverpb.TxnRequest", 2}, {"raftpb.Entry", 4}, {"raftpb.ConfState", 1}, {"walpb.Record", 3}} {
		for _, in := range fixedInputs(f.number) {
			say(f.name, in)
		}
	}
	// A packed run whose last element ends beyond it, and one that ends in the middle of the input's last byte.
	for _, in := range []string{"0a018001", "0a01802801", "0a0180", "0a00", "0a0401808001"} {
		b, _ := hex.DecodeString(in)
		say("raftpb.ConfState", b)
	}
}
