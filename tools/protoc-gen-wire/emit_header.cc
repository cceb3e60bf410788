#include <algorithm>
#include <set>

#include "emit.h"
#include "names.h"

namespace quoin::genwire {

using google::protobuf::EnumDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::io::Printer;

namespace {
void emit_includes(const FileDescriptor& file, const std::vector<Message>& messages, Printer* out) {
  std::set<std::string> standard = {"cstddef", "cstdint", "string_view"};
  std::set<std::string> own = {"wire/decoder.h"};
  bool inlined = false;
  for (const Message& m : messages) {
    if (m.descriptor->real_oneof_decl_count() > 0) standard.insert("variant");
    for (const Field& f : m.fields) {
      if (f.type.rfind("std::vector", 0) == 0) standard.insert("vector");
      if (f.type.rfind("std::optional", 0) == 0) standard.insert("optional");
      if (f.type.rfind("absl::InlinedVector", 0) == 0) inlined = true;
      const FileDescriptor* from = nullptr;
      if (const auto* t = f.descriptor->message_type()) from = t->file();
      if (const auto* t = f.descriptor->enum_type()) from = t->file();
      if (from != nullptr && from != &file) own.insert("wire/" + stem(*from) + ".h");
    }
  }
  if (inlined) out->Print("#include <absl/container/inlined_vector.h>\n\n");
  for (const auto& name : standard) out->Print("#include <$name$>\n", "name", name);
  out->Print("\n");
  for (const auto& name : own) out->Print("#include \"$name$\"\n", "name", name);
}

void emit_enum(const EnumDescriptor& e, Printer* out) {
  out->Print("enum class $name$ : int32_t {\n", "name", e.name());
  for (int i = 0; i < e.value_count(); ++i) {
    out->Print("  $name$ = $number$,\n", "name", enumerator(e.value(i)->name()), "number",
               std::to_string(e.value(i)->number()));
  }
  out->Print("};\n");
}

void emit_oneof(const Message& m, const google::protobuf::OneofDescriptor& oneof, Printer* out) {
  const std::string name = snake(oneof.name());
  const std::string case_name = constant(name).substr(1) + "Case";
  const auto members = m.members(oneof);
  out->Print("enum class $case$ : uint8_t {\n  kNone,\n", "case", case_name);
  for (const Field* f : members) out->Print("  $name$,\n", "name", constant(f->name));
  out->Print("};\n");
  out->Print("std::variant<std::monostate");
  for (const Field* f : members) out->Print(", $type$", "type", f->type);
  out->Print("> $name$;\n", "name", name);
  out->Print("$case$ $name$_case() const { return static_cast<$case$>($name$.index()); }\n", "case",
             case_name, "name", name);
  for (const Field* f : members) {
    const std::map<std::string, std::string> vars = {
        {"oneof", name}, {"name", f->name}, {"i", std::to_string(f->alternative)}, {"type", f->element}};
    if (f->boxed) {
      out->Print(vars,
                 "const $type$* $name$() const {\n"
                 "  const auto* box = std::get_if<$i$>(&$oneof$);\n"
                 "  return box != nullptr && *box ? &**box : nullptr;\n"
                 "}\n"
                 "$type$& set_$name$();\n");
    } else {
      out->Print(vars, "const $type$* $name$() const { return std::get_if<$i$>(&$oneof$); }\n");
      if (f->coding == Coding::kMessage) {
        out->Print(vars, "$type$& set_$name$() { return $oneof$.emplace<$i$>(); }\n");
      } else {
        out->Print(vars, "void set_$name$($type$ value) { $oneof$.emplace<$i$>(value); }\n");
      }
    }
  }
}

void emit_struct(const Message& m, Printer* out) {
  out->Print("\nstruct $name$ {\n", "name", m.name);
  out->Indent();
  out->Print("static constexpr std::string_view kFullName = \"$name$\";\n", "name",
             m.descriptor->full_name());
  for (int i = 0; i < m.descriptor->enum_type_count(); ++i) emit_enum(*m.descriptor->enum_type(i), out);
  for (const Field& f : m.fields) {
    out->Print("static constexpr uint32_t $name$Field = $number$;\n", "name", constant(f.name), "number",
               std::to_string(f.descriptor->number()));
  }
  if (!m.fields.empty()) out->Print("\n");
  const google::protobuf::OneofDescriptor* oneof = nullptr;
  for (const Field& f : m.fields) {
    if (f.presence == Presence::kOneof) {
      if (f.descriptor->containing_oneof() == oneof) continue;
      oneof = f.descriptor->containing_oneof();
      emit_oneof(m, *oneof, out);
    } else if (f.presence == Presence::kImplicit || f.presence == Presence::kAlways) {
      out->Print("$type$ $name${};\n", "type", f.type, "name", f.name);
    } else {
      out->Print("$type$ $name$;\n", "type", f.type, "name", f.name);
    }
  }
  if (m.keep_unknown) out->Print("UnknownFields unknown;\n");
  out->Outdent();
  out->Print("};\n");
}

// Setters that need a type which is complete only further down.
void emit_late_setters(const Message& m, Printer* out) {
  for (const Field& f : m.fields) {
    if (f.presence != Presence::kOneof || !f.boxed) continue;
    out->Print("inline $type$& $message$::set_$name$() { return $oneof$.emplace<$i$>().emplace(); }\n",
               "type", f.element, "message", m.name, "name", f.name, "oneof",
               snake(f.descriptor->containing_oneof()->name()), "i", std::to_string(f.alternative));
  }
}
}  // namespace

void emit_header(const FileDescriptor& file, const std::vector<Message>& messages, Printer* out) {
  out->Print("// Generated by protoc-gen-wire from proto/$file$. See wire/message.h.\n#pragma once\n", "file",
             file.name());
  emit_includes(file, messages, out);
  out->Print("\nnamespace quoin::wire::$ns$ {\n\n", "ns", namespace_of(file));
  for (int i = 0; i < file.enum_type_count(); ++i) {
    emit_enum(*file.enum_type(i), out);
    out->Print("\n");
  }
  for (const Message& m : messages) out->Print("struct $name$;\n", "name", m.name);
  for (const Message& m : messages) emit_struct(m, out);
  out->Print("\n");
  for (const Message& m : messages) emit_late_setters(m, out);
  for (const Message& m : messages) {
    out->Print(
        "\nbool merge(std::string_view in, $name$* m, DecodeContext& context);\n"
        "size_t encoded_size(const $name$& m);\n"
        "char* encode_backward(const $name$& m, char* end);\n",
        "name", m.name);
  }
  out->Print("\n}  // namespace quoin::wire::$ns$\n", "ns", namespace_of(file));
}

}  // namespace quoin::genwire
