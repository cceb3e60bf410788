// protoc plugin: writes src/wire's message structs and codecs for the files named on protoc's command line.
//   protoc -I proto --plugin=protoc-gen-wire=<this> --wire_out=DIR proto/*.proto
// Each x.proto becomes DIR/wire/x.h and DIR/wire/x.cc; all together become DIR/wire/registry.cc.
#include <google/protobuf/compiler/code_generator.h>
#include <google/protobuf/compiler/plugin.h>
#include <google/protobuf/io/printer.h>
#include <google/protobuf/io/zero_copy_stream.h>

#include <memory>
#include <string>
#include <vector>

#include "emit.h"
#include "model.h"
#include "names.h"

namespace quoin::genwire {
namespace {

using google::protobuf::FileDescriptor;
using google::protobuf::compiler::GeneratorContext;
using google::protobuf::io::Printer;

class Generator : public google::protobuf::compiler::CodeGenerator {
 public:
  bool Generate(const FileDescriptor* file, const std::string&, GeneratorContext* context,
                std::string* error) const override {
    std::vector<Message> messages;
    for (int i = 0; i < file->message_type_count(); ++i) {
      if (!build_message(*file->message_type(i), &messages.emplace_back(), error)) return false;
    }
    if (!declaration_order(&messages, error)) return false;
    return write(context, "wire/" + stem(*file) + ".h", error,
                 [&](Printer* out) { emit_header(*file, messages, out); }) &&
           write(context, "wire/" + stem(*file) + ".cc", error,
                 [&](Printer* out) { emit_source(*file, messages, out); });
  }

  bool GenerateAll(const std::vector<const FileDescriptor*>& files, const std::string& parameter,
                   GeneratorContext* context, std::string* error) const override {
    for (const auto* file : files) {
      if (!Generate(file, parameter, context, error)) return false;
    }
    return write(context, "wire/registry.cc", error, [&](Printer* out) { emit_registry(files, out); });
  }

 private:
  template <class Emit>
  static bool write(GeneratorContext* context, const std::string& name, std::string* error, Emit emit) {
    const std::unique_ptr<google::protobuf::io::ZeroCopyOutputStream> stream(context->Open(name));
    Printer printer(stream.get(), '$');
    emit(&printer);
    if (printer.failed()) *error = "cannot write " + name;
    return !printer.failed();
  }
};

}  // namespace
}  // namespace quoin::genwire

int main(int argc, char** argv) {
  const quoin::genwire::Generator generator;
  return google::protobuf::compiler::PluginMain(argc, argv, &generator);
}
