#include "model.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "names.h"
#include "quoin.pb.h"

namespace quoin::genwire {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::OneofDescriptor;

namespace {
// Does holding `from` by value lead to `to`? Such a field must stand behind a pointer.
bool reaches(const Descriptor* from, const Descriptor* to, std::set<const Descriptor*>* seen) {
  if (from == to) return true;
  if (!seen->insert(from).second) return false;
  for (int i = 0; i < from->field_count(); ++i) {
    const auto* f = from->field(i);
    if (f->message_type() && !f->options().GetExtension(quoin::pb::raw) &&
        reaches(f->message_type(), to, seen)) {
      return true;
    }
  }
  return false;
}
bool recursive(const FieldDescriptor& f) {
  std::set<const Descriptor*> seen;
  return reaches(f.message_type(), f.containing_type(), &seen);
}

bool classify(const FieldDescriptor& d, Field* f, std::string* error) {
  const auto& options = d.options();
  f->signed_or_enum = false;
  switch (d.type()) {
    case FieldDescriptor::TYPE_INT64:
      f->element = "int64_t";
      f->signed_or_enum = true;
      break;
    case FieldDescriptor::TYPE_INT32:
      f->element = "int32_t";
      f->signed_or_enum = true;
      break;
    case FieldDescriptor::TYPE_UINT64:
      f->element = "uint64_t";
      break;
    case FieldDescriptor::TYPE_UINT32:
      f->element = "uint32_t";
      break;
    case FieldDescriptor::TYPE_BOOL:
      f->element = "bool";
      break;
    case FieldDescriptor::TYPE_ENUM:
      f->element = scoped_name(*d.enum_type());
      f->signed_or_enum = true;
      break;
    case FieldDescriptor::TYPE_STRING:
    case FieldDescriptor::TYPE_BYTES:
      f->element = "std::string_view";
      break;
    case FieldDescriptor::TYPE_MESSAGE:
      f->element = scoped_name(*d.message_type());
      break;
    default:
      *error = d.full_name() + ": type without a form";
      return false;
  }
  f->coding = Coding::kInteger;
  if (d.type() == FieldDescriptor::TYPE_BOOL) f->coding = Coding::kBool;
  if (f->element == "std::string_view") f->coding = Coding::kBytes;
  if (d.message_type())
    f->coding = options.GetExtension(quoin::pb::raw) ? Coding::kRawMessage : Coding::kMessage;
  if (f->coding == Coding::kRawMessage) f->element = "Raw<" + f->element + ">";
  return true;
}

void choose_presence(const FieldDescriptor& d, Field* f) {
  const bool proto3 = d.file()->syntax() == FileDescriptor::SYNTAX_PROTO3;
  if (d.is_repeated()) {
    f->presence = d.is_packed() ? Presence::kPacked : Presence::kRepeated;
  } else if (d.containing_oneof()) {
    f->presence = Presence::kOneof;
  } else if (d.options().GetExtension(quoin::pb::always)) {
    f->presence = Presence::kAlways;
  } else if (d.message_type() || !proto3) {
    f->presence = Presence::kOptional;
  } else {
    f->presence = Presence::kImplicit;
  }
}

void choose_type(const FieldDescriptor& d, Field* f) {
  const bool needs_pointer = f->coding == Coding::kMessage && recursive(d);
  f->boxed = !d.is_repeated() && (needs_pointer || d.options().GetExtension(quoin::pb::boxed));
  const uint32_t inline_capacity = d.options().GetExtension(quoin::pb::inline_capacity);
  switch (f->presence) {
    case Presence::kRepeated:
    case Presence::kPacked:
      f->type = inline_capacity > 0
                    ? "absl::InlinedVector<" + f->element + ", " + std::to_string(inline_capacity) + ">"
                    : "std::vector<" + f->element + ">";
      break;
    case Presence::kOptional:
      f->type = (f->boxed ? "Box<" : "std::optional<") + f->element + ">";
      break;
    case Presence::kOneof:
      f->type = f->boxed ? "Box<" + f->element + ">" : f->element;
      break;
    default:
      f->type = f->element;
  }
}
}  // namespace

std::vector<const Field*> Message::ascending() const {
  std::vector<const Field*> out;
  for (const auto& f : fields) out.push_back(&f);
  std::sort(out.begin(), out.end(),
            [](const Field* a, const Field* b) { return a->descriptor->number() < b->descriptor->number(); });
  return out;
}

std::vector<const Field*> Message::members(const OneofDescriptor& oneof) const {
  std::vector<const Field*> out;
  for (const auto& f : fields) {
    if (f.descriptor->containing_oneof() == &oneof) out.push_back(&f);
  }
  return out;
}

bool build_message(const Descriptor& descriptor, Message* out, std::string* error) {
  out->descriptor = &descriptor;
  out->name = local_name(descriptor);
  out->keep_unknown = !descriptor.file()->options().GetExtension(quoin::pb::drop_unknown);
  if (descriptor.nested_type_count() > 0 || descriptor.extension_range_count() > 0) {
    *error = descriptor.full_name() + ": nested messages, maps and extensions have no form";
    return false;
  }
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor& d = *descriptor.field(i);
    Field f;
    f.descriptor = &d;
    f.name = snake(d.name());
    const auto& go_name = d.options().GetExtension(quoin::pb::go_name);
    f.go_name = go_name.empty() ? go_camel(d.name()) : go_name;
    if (!classify(d, &f, error)) return false;
    choose_presence(d, &f);
    choose_type(d, &f);
    if (d.containing_oneof()) f.alternative = d.index_in_oneof() + 1;
    if (f.presence == Presence::kAlways && (f.boxed || f.coding == Coding::kRawMessage)) {
      *error = d.full_name() + ": `always` goes with plain members only";
      return false;
    }
    out->fields.push_back(std::move(f));
  }
  return true;
}

bool declaration_order(std::vector<Message>* messages, std::string* error) {
  std::map<const Descriptor*, size_t> index;
  for (size_t i = 0; i < messages->size(); ++i) index[(*messages)[i].descriptor] = i;
  enum class Mark { kNew, kOpen, kDone };
  std::vector<Mark> marks(messages->size(), Mark::kNew);
  std::vector<size_t> order;
  std::function<bool(size_t)> visit = [&](size_t i) {
    if (marks[i] == Mark::kDone) return true;
    if (marks[i] == Mark::kOpen) {
      *error = (*messages)[i].descriptor->full_name() + " holds itself by value";
      return false;
    }
    marks[i] = Mark::kOpen;
    for (const Field& f : (*messages)[i].fields) {
      // std::vector and Box take incomplete types; a recursive repeated field must therefore be a
      // std::vector.
      if (f.coding != Coding::kMessage || f.boxed) continue;
      if (f.descriptor->message_type() == (*messages)[i].descriptor && f.type.rfind("std::vector", 0) == 0)
        continue;
      const auto it = index.find(f.descriptor->message_type());
      if (it != index.end() && !visit(it->second)) return false;
    }
    marks[i] = Mark::kDone;
    order.push_back(i);
    return true;
  };
  for (size_t i = 0; i < messages->size(); ++i) {
    if (!visit(i)) return false;
  }
  std::vector<Message> sorted;
  for (size_t i : order) sorted.push_back(std::move((*messages)[i]));
  *messages = std::move(sorted);
  return true;
}

}  // namespace quoin::genwire
