// Protobuf messages as Go's encoding/json writes the structs that stand for them in etcd: names as the .proto spells
// them, in its order, zero values left out, 64-bit integers and enums as numbers, bytes in base64. Not proto3's JSON.
//
// The forms that differ (watch, leases, endpoints) are put together from these by the commands.
// Threads: none. Source: the json tags of api/etcdserverpb, api/mvccpb, api/authpb.
#pragma once
#include <string>

#include "cmd/text/go_json.h"

namespace google::protobuf {
class Message;
}

namespace quoin::ctl {

// The message as an object.
void put_message(cmd::GoJson& json, const google::protobuf::Message& message);
// Its fields alone, into the object that is open: how Go writes an embedded struct.
void put_fields(cmd::GoJson& json, const google::protobuf::Message& message);

std::string json_of(const google::protobuf::Message& message);

}  // namespace quoin::ctl
