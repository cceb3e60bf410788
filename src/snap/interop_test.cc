// Our `.snap` files read by etcd 3.6's own packages, and theirs by ours (src/wal/interop).
#include <gtest/gtest.h>

#include <filesystem>

#include "sim/host_program.h"
#include "sim/machine.h"
#include "snap/membership_json.h"
#include "snap/snapshotter.h"

namespace quoin::snap {
namespace {

std::string list(const std::vector<std::string>& items) {
  return fmt::format("[{}]", fmt::join(items, " "));
}

std::string printed(const MembershipState& state) {
  std::string out;
  for (const MemberState& m : state.members) {
    MemberState::Attributes a;
    if (m.attributes) a = *m.attributes;
    out += fmt::format("member {:x} {} {} {} {}\n", m.id.v, a.name, list(m.peer_urls), list(a.client_urls),
                       m.is_learner);
  }
  for (MemberId id : state.removed) out += fmt::format("removed {:x}\n", id.v);
  return out;
}

class Interop : public testing::Test {
 protected:
  void SetUp() override {
    auto built = sim::HostProgram::build_go(QUOIN_SOURCE_DIR "/src/wal/interop");
    if (!built && built.error().code() == Code::kUnsupported) {
      GTEST_SKIP() << "no comparison with etcd's package: " << built.error().text();
    }
    ASSERT_TRUE(built.has_value()) << built.error().text();
    go = std::make_unique<sim::HostProgram>(std::move(*built));
  }
  std::string run(const std::vector<std::string>& arguments) {
    auto out = go->run(arguments);
    EXPECT_TRUE(out.has_value()) << out.error().text();
    return out ? *out : "";
  }
  std::unique_ptr<sim::HostProgram> go;
  sim::HostFolder folder;
};

TEST_F(Interop, GoLoadsOurSnapshot) {
  MembershipState state;
  state.members = {{MemberId(0xa),
                    {"http://10.0.0.1:2380"},
                    false,
                    MemberState::Attributes{"m<1>", {"http://10.0.0.1:2379"}}},
                   {MemberId(0xbdae9bbc11dd390dull), {"http://b:1", "http://c:2"}, true, std::nullopt}};
  state.removed = {MemberId(3), MemberId(0xffffffffffffffffull)};
  state.cluster_version = "3.6.0";
  raft::Snapshot s;
  s.data = Blob::copy(write_membership_json(state, 4));
  s.metadata.conf_state.voters = {MemberId(10)};
  s.metadata.index = Index(22);
  s.metadata.term = Term(3);
  sim::Machine m(1);
  m.disk().put_file("/snap/" + snap_name(Term(3), Index(22)), encode_snap(s));
  folder.copy_from(m.disk(), "/snap", "snap");
  EXPECT_EQ(run({"snap", folder.path() + "/snap"}), "metadata 22 3 [10]\nmeta only true\n" + printed(state));
}

TEST_F(Interop, WeLoadGosSnapshot) {
  const std::string dir = folder.path() + "/snap";
  std::filesystem::create_directories(dir);
  const std::string members = run({"writesnap", dir});
  sim::Machine m(2);
  folder.copy_to(m.disk(), "/snap", "snap");
  metrics::Registry registry;
  Probe probe(registry);
  Snapshotter snaps(m.fs(), "/snap", m.process().clock(), m.log(), probe);
  ASSERT_TRUE(snaps.open().has_value());
  const auto s =
      snaps.load_newest([](Term term, Index index) { return term == Term(3) && index == Index(22); });
  ASSERT_TRUE(s.has_value()) << s.error().text();
  const auto text = read_membership_json(s->data.view());
  ASSERT_TRUE(text.has_value()) << text.error().text();
  EXPECT_TRUE(text->custom_content.empty());
  ASSERT_EQ(text->state.members.size(), 2u);
  // In the order in which they were made.
  MembershipState in_order = text->state;
  if (in_order.members[0].is_learner) std::swap(in_order.members[0], in_order.members[1]);
  in_order.members[1].attributes = MemberState::Attributes{"m1<&>", {}};  // not published: no client URL
  EXPECT_EQ(printed(in_order), members);
  EXPECT_EQ(s->metadata.conf_state.voters, std::vector<MemberId>{in_order.members[0].id});
}

}  // namespace
}  // namespace quoin::snap
