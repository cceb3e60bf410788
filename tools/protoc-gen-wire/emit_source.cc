#include <map>

#include "emit.h"
#include "names.h"

namespace quoin::genwire {

using google::protobuf::FileDescriptor;
using google::protobuf::io::Printer;

namespace {
using Vars = std::map<std::string, std::string>;

// The varint of an integer expression.
std::string varint_of(const Field& f, const std::string& value) {
  if (f.coding == Coding::kBool) return "static_cast<uint64_t>(" + value + ")";
  if (f.signed_or_enum) return "static_cast<uint64_t>(static_cast<int64_t>(" + value + "))";
  return "static_cast<uint64_t>(" + value + ")";
}

std::string differs_from_zero(const Field& f, const std::string& value) {
  switch (f.coding) {
    case Coding::kBool:
      return value;
    case Coding::kBytes:
      return "!" + value + ".empty()";
    default:
      return value + " != " + f.element + "{}";
  }
}

// Runs `print(expression)` where the field has a value, in the scope that presence asks for.
template <class Print>
void with_values(const Field& f, bool backwards, Printer* out, Print print) {
  const std::string member = "m." + f.name;
  switch (f.presence) {
    case Presence::kAlways:
      print(member);
      return;
    case Presence::kImplicit:
      out->Print("if ($cond$) {\n", "cond", differs_from_zero(f, member));
      out->Indent();
      print(member);
      break;
    case Presence::kOptional:
      out->Print("if ($m$.has_value()) {\n", "m", member);
      out->Indent();
      print("(*" + member + ")");
      break;
    case Presence::kRepeated:
    case Presence::kPacked:
      if (backwards) {
        out->Print("for (auto it = $m$.rbegin(); it != $m$.rend(); ++it) {\n", "m", member);
      } else {
        out->Print("for (auto it = $m$.begin(); it != $m$.end(); ++it) {\n", "m", member);
      }
      out->Indent();
      print("(*it)");
      break;
    case Presence::kOneof:
      if (f.boxed) {
        out->Print("if (const auto* v = m.$name$()) {\n", "name", f.name);
      } else {
        out->Print("if (const auto* v = std::get_if<$i$>(&m.$oneof$)) {\n", "i",
                   std::to_string(f.alternative), "oneof", snake(f.descriptor->containing_oneof()->name()));
      }
      out->Indent();
      print("(*v)");
      break;
  }
  out->Outdent();
  out->Print("}\n");
}

void emit_size(const Field& f, Printer* out) {
  const std::string number = std::to_string(f.descriptor->number());
  if (f.presence == Presence::kPacked) {
    out->Print("if (!m.$name$.empty()) {\n  size_t run = 0;\n", "name", f.name);
    out->Indent();
    with_values(f, false, out, [&](const std::string& v) {
      out->Print("run += varint_size($v$);\n", "v", varint_of(f, v));
    });
    out->Outdent();
    out->Print("  n += length_delimited_size($number$, run);\n}\n", "number", number);
    return;
  }
  with_values(f, false, out, [&](const std::string& v) {
    switch (f.coding) {
      case Coding::kInteger:
        out->Print("n += tag_size($number$) + varint_size($v$);\n", "number", number, "v", varint_of(f, v));
        break;
      case Coding::kBool:
        out->Print("n += tag_size($number$) + 1;\n", "number", number);
        break;
      case Coding::kBytes:
        out->Print("n += length_delimited_size($number$, $v$.size());\n", "number", number, "v", v);
        break;
      case Coding::kMessage:
        out->Print("n += length_delimited_size($number$, encoded_size($v$));\n", "number", number, "v", v);
        break;
      case Coding::kRawMessage:
        out->Print("n += length_delimited_size($number$, $v$.bytes.size());\n", "number", number, "v", v);
        break;
    }
  });
}

void emit_write(const Field& f, Printer* out) {
  const std::string number = std::to_string(f.descriptor->number());
  if (f.presence == Presence::kPacked) {
    out->Print("if (!m.$name$.empty()) {\n  char* const stop = end;\n", "name", f.name);
    out->Indent();
    with_values(f, true, out, [&](const std::string& v) {
      out->Print("end = put_varint_back(end, $v$);\n", "v", varint_of(f, v));
    });
    out->Outdent();
    out->Print("  end = put_length_delimited_head_back(end, $number$, static_cast<size_t>(stop - end));\n}\n",
               "number", number);
    return;
  }
  with_values(f, true, out, [&](const std::string& v) {
    switch (f.coding) {
      case Coding::kInteger:
      case Coding::kBool:
        out->Print("end = put_varint_field_back(end, $number$, $v$);\n", "number", number, "v",
                   varint_of(f, v));
        break;
      case Coding::kBytes:
        out->Print("end = put_bytes_field_back(end, $number$, $v$);\n", "number", number, "v", v);
        break;
      case Coding::kRawMessage:
        out->Print("end = put_bytes_field_back(end, $number$, $v$.bytes);\n", "number", number, "v", v);
        break;
      case Coding::kMessage:
        out->Print(
            "char* const stop$number$ = end;\n"
            "end = encode_backward($v$, end);\n"
            "end = put_length_delimited_head_back(end, $number$, static_cast<size_t>(stop$number$ - end));\n",
            "number", number, "v", v);
        break;
    }
  });
}

// The pointer a reader fills.
std::string target_of(const Field& f) {
  const std::string member = "m->" + f.name;
  switch (f.presence) {
    case Presence::kImplicit:
    case Presence::kAlways:
      return "&" + member;
    case Presence::kOptional:
      return "ensure(" + member + ")";
    case Presence::kRepeated:
      return "&" + member + ".emplace_back()";
    case Presence::kPacked:
      return "&" + member;
    case Presence::kOneof:
      break;
  }
  const std::string emplace = "m->" + snake(f.descriptor->containing_oneof()->name()) + ".emplace<" +
                              std::to_string(f.alternative) + ">()";
  return "&" + emplace + (f.boxed ? ".emplace()" : "");
}

void emit_read(const Field& f, Printer* out) {
  const bool list = f.presence == Presence::kRepeated || f.presence == Presence::kPacked;
  std::string reader, target = target_of(f);
  switch (f.coding) {
    case Coding::kInteger:
      reader = list ? "integers" : "integer";
      if (list) target = "&m->" + f.name;
      break;
    case Coding::kBool:
      reader = "boolean";
      break;
    case Coding::kBytes:
      reader = "bytes";
      break;
    case Coding::kMessage:
      reader = "message";
      break;
    case Coding::kRawMessage:
      reader = "raw";
      break;
  }
  out->Print("case $number$:\n  ok = d.$reader$($target$, \"$go$\");\n  break;\n", "number",
             std::to_string(f.descriptor->number()), "reader", reader, "target", target, "go", f.go_name);
}

void emit_merge(const Message& m, Printer* out) {
  // Faults name a message as the .proto does, also where Go's struct has a capital.
  out->Print(
      "\nbool merge(std::string_view in, $name$* m, DecodeContext& context) {\n"
      "  Decoder d(in, context, \"$proto$\");\n"
      "  while (d.next()) {\n",
      "name", m.name, "proto", m.descriptor->name());
  const std::string rest = m.keep_unknown ? "d.unknown(&m->unknown)" : "d.skip()";
  if (m.fields.empty()) {
    out->Print("    if (!$rest$) return false;\n", "rest", rest);
  } else {
    out->Print("    bool ok;\n    switch (d.field()) {\n");
    for (int i = 0; i < 3; ++i) out->Indent();
    for (const Field* f : m.ascending()) emit_read(*f, out);
    for (int i = 0; i < 3; ++i) out->Outdent();
    out->Print("      default:\n        ok = $rest$;\n    }\n    if (!ok) return false;\n", "rest", rest);
  }
  out->Print("  }\n  return d.done();\n}\n");
}

void emit_codec(const Message& m, Printer* out) {
  emit_merge(m, out);
  const auto fields = m.ascending();
  const bool uses_m = m.keep_unknown || !fields.empty();
  const std::string argument = uses_m ? " m" : "";
  out->Print("\nsize_t encoded_size(const $name$&$m$) {\n", "name", m.name, "m", argument);
  out->Indent();
  out->Print(m.keep_unknown ? "size_t n = m.unknown.size_bytes();\n" : "size_t n = 0;\n");
  for (const Field* f : fields) emit_size(*f, out);
  out->Print("return n;\n");
  out->Outdent();
  out->Print("}\n\nchar* encode_backward(const $name$&$m$, char* end) {\n", "name", m.name, "m", argument);
  out->Indent();
  if (m.keep_unknown) out->Print("end = put_unknown_back(end, m.unknown);\n");
  for (auto it = fields.rbegin(); it != fields.rend(); ++it) emit_write(**it, out);
  out->Print("return end;\n");
  out->Outdent();
  out->Print("}\n");
}
}  // namespace

void emit_source(const FileDescriptor& file, const std::vector<Message>& messages, Printer* out) {
  out->Print(
      "// Generated by protoc-gen-wire from proto/$file$.\n"
      "#include \"wire/$stem$.h\"\n\n"
      "#include \"wire/coding.h\"\n\n"
      "namespace quoin::wire::$ns$ {\n",
      "file", file.name(), "stem", stem(file), "ns", namespace_of(file));
  for (const Message& m : messages) emit_codec(m, out);
  out->Print("\n}  // namespace quoin::wire::$ns$\n", "ns", namespace_of(file));
}

void emit_registry(const std::vector<const FileDescriptor*>& files, Printer* out) {
  out->Print(
      "// Generated by protoc-gen-wire.\n#include \"wire/registry.h\"\n\n#include \"wire/message.h\"\n");
  for (const auto* file : files) out->Print("#include \"wire/$stem$.h\"\n", "stem", stem(*file));
  out->Print(
      "\nnamespace quoin::wire {\nnamespace {\n"
      "template <class M>\n"
      "Result<std::string> recode(std::string_view in) {\n"
      "  ASSIGN_OR_RETURN(const M m, decode<M>(in));\n"
      "  return encode_string(m);\n"
      "}\n\n"
      "constexpr MessageInfo kMessages[] = {\n");
  for (const auto* file : files) {
    for (int i = 0; i < file->message_type_count(); ++i) {
      out->Print("    {$name$::kFullName, &recode<$name$>},\n", "name", scoped_name(*file->message_type(i)));
    }
  }
  out->Print(
      "};\n}  // namespace\n\n"
      "std::span<const MessageInfo> messages() {\n  return kMessages;\n}\n\n}  // namespace quoin::wire\n");
}

}  // namespace quoin::genwire
