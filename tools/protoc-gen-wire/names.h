// Names in generated code.
#pragma once
#include <google/protobuf/descriptor.h>

#include <string>
#include <string_view>

namespace quoin::genwire {

// "peerURLs", "member_ID", "TTL" -> "peer_urls", "member_id", "ttl".
std::string snake(std::string_view name);
// "target_union" -> "TargetUnion"; "peerURLs" -> "PeerURLs". Underscores go only before small letters, which
// is how Go's generators name fields ("member_ID" -> "Member_ID").
std::string go_camel(std::string_view name);
// "NOT_EQUAL" -> "kNotEqual", "EntryNormal" -> "kEntryNormal".
std::string enumerator(std::string_view name);
// "create_revision" -> "kCreateRevision".
std::string constant(std::string_view snake_name);

// A message's or enum's name within its file's namespace: "Snapshot", "RangeRequest::SortOrder".
std::string local_name(const google::protobuf::Descriptor& m);
std::string local_name(const google::protobuf::EnumDescriptor& e);
// The same with the namespace below quoin::wire in front: "mvccpb::KeyValue".
std::string scoped_name(const google::protobuf::Descriptor& m);
std::string scoped_name(const google::protobuf::EnumDescriptor& e);
// The last part of the package; "grpc.health.v1" -> "health".
std::string namespace_of(const google::protobuf::FileDescriptor& file);
// "raft_internal.proto" -> "raft_internal".
std::string stem(const google::protobuf::FileDescriptor& file);

}  // namespace quoin::genwire
