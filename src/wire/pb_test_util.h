// libprotobuf's view of the messages, for tests that compare with it.
#pragma once
#include <google/protobuf/message.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/prng.h"

namespace quoin::wire {

// An empty message of the given full name; the name must exist.
std::unique_ptr<google::protobuf::Message> new_pb_message(std::string_view full_name);

// The message's bytes with map and field order fixed.
std::string serialized(const google::protobuf::Message& m);

// Gives each field a value at random, zeros and negative ones included, recursively. Fields that Go always
// writes get one always, so that presence matches ours.
void fill(google::protobuf::Message* m, Prng* prng, int depth = 0);

// Sets the fields Go always writes where they are unset, recursively.
void set_always_encoded(google::protobuf::Message* m);

// Whether the message or one below it holds messages as raw bytes, which are passed on as they came.
bool holds_raw(const google::protobuf::Descriptor& d);

}  // namespace quoin::wire
