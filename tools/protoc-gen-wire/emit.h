// Writes the C++ of messages: structs into headers, codecs into sources. See src/wire/message.h for what
// users get and src/wire/decoder.h for the rules the codecs are made of.
#pragma once
#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/printer.h>

#include <string>
#include <vector>

#include "model.h"

namespace quoin::genwire {

void emit_header(const google::protobuf::FileDescriptor& file, const std::vector<Message>& messages,
                 google::protobuf::io::Printer* out);
void emit_source(const google::protobuf::FileDescriptor& file, const std::vector<Message>& messages,
                 google::protobuf::io::Printer* out);
// One table of all messages of all files, for tests that must reach each of them.
void emit_registry(const std::vector<const google::protobuf::FileDescriptor*>& files,
                   google::protobuf::io::Printer* out);

}  // namespace quoin::genwire
