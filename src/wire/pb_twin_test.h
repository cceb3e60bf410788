// libprotobuf's view of the messages, for the tests that compare with it.
#pragma once
#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message.h>

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "pb/auth.pb.h"
#include "pb/etcdserver.pb.h"
#include "pb/health.pb.h"
#include "pb/kv.pb.h"
#include "pb/lease.pb.h"
#include "pb/membership.pb.h"
#include "pb/quoin.pb.h"
#include "pb/raft.pb.h"
#include "pb/raft_internal.pb.h"
#include "pb/record.pb.h"
#include "pb/rpc.pb.h"
#include "pb/snap.pb.h"
#include "pb/v3election.pb.h"
#include "pb/v3lock.pb.h"

namespace quoin::wire {

namespace gpb = google::protobuf;

// All files of proto/ that hold messages.
inline const std::vector<const gpb::FileDescriptor*>& pb_files() {
  static const std::vector<const gpb::FileDescriptor*> kFiles = {
      ::authpb::User::descriptor()->file(),
      ::etcdserverpb::Request::descriptor()->file(),
      ::etcdserverpb::RangeRequest::descriptor()->file(),
      ::etcdserverpb::InternalRaftRequest::descriptor()->file(),
      ::grpc::health::v1::HealthCheckRequest::descriptor()->file(),
      ::leasepb::Lease::descriptor()->file(),
      ::membershippb::Member::descriptor()->file(),
      ::mvccpb::KeyValue::descriptor()->file(),
      ::raftpb::Message::descriptor()->file(),
      ::snappb::snapshot::descriptor()->file(),
      ::v3electionpb::LeaderKey::descriptor()->file(),
      ::v3lockpb::LockRequest::descriptor()->file(),
      ::walpb::Record::descriptor()->file(),
  };
  return kFiles;
}

// An empty message; the name must exist.
inline std::unique_ptr<gpb::Message> new_pb_message(std::string_view full_name) {
  CHECK(!pb_files().empty());  // links the descriptors
  const auto* d = gpb::DescriptorPool::generated_pool()->FindMessageTypeByName(std::string(full_name));
  CHECK(d != nullptr, "no message {}", full_name);
  return std::unique_ptr<gpb::Message>(gpb::MessageFactory::generated_factory()->GetPrototype(d)->New());
}

inline std::string serialized(const gpb::Message& m) {
  std::string out;
  gpb::io::StringOutputStream stream(&out);
  gpb::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  m.SerializePartialToCodedStream(&coded);
  coded.Trim();
  return out;
}

// Whether the message, or one below it, holds messages as raw bytes, which pass through as they came.
inline bool holds_raw(const gpb::Descriptor& d, std::set<const gpb::Descriptor*>* seen) {
  if (!seen->insert(&d).second) return false;
  for (int i = 0; i < d.field_count(); ++i) {
    const auto* f = d.field(i);
    if (f->options().GetExtension(quoin::pb::raw)) return true;
    if (f->message_type() != nullptr && holds_raw(*f->message_type(), seen)) return true;
  }
  return false;
}
inline bool holds_raw(std::string_view full_name) {
  std::set<const gpb::Descriptor*> seen;
  return holds_raw(*new_pb_message(full_name)->GetDescriptor(), &seen);
}

}  // namespace quoin::wire
