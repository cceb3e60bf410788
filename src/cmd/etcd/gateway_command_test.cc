// What cobra and pflag say, as the real gateway and etcdutl of etcd 3.6 said it (tests/interop/tcp_gateway.py asks the
// real gateway anew).
#include <gtest/gtest.h>

#include "cmd/cobra/command.h"
#include "cmd/etcd/tcp_gateway.h"

namespace quoin::cmd {
namespace {

using Words = std::vector<std::string>;

GatewayCommand gateway(Words words) {
  words.insert(words.begin(), {"etcd", "gateway"});
  return read_gateway_command(words);
}

constexpr std::string_view kGatewayUsage = R"(Usage:
  etcd gateway [command]

Available Commands:
  start       start the gateway

Flags:
  -h, --help   help for gateway

Use "etcd gateway [command] --help" for more information about a command.
)";
constexpr std::string_view kStartUsage = R"(Usage:
  etcd gateway start [flags]

Flags:
      --discovery-srv string        DNS domain used to bootstrap initial cluster
      --discovery-srv-name string   service name to query when using DNS discovery
      --endpoints strings           comma separated etcd cluster endpoints (default [127.0.0.1:2379])
  -h, --help                        help for start
      --insecure-discovery          accept insecure SRV records
      --listen-addr string          listen address (default "127.0.0.1:23790")
      --retry-delay duration        duration of delay before retrying failed endpoints (default 1m0s)
      --trusted-ca-file string      path to the client server TLS CA file for verifying the discovered endpoints when discovery-srv is provided.
)";

TEST(Cobra, HelpOfACommandThatDoesNothingItself) {
  for (const Words& words : {Words{},
                             {"help"},
                             {"foo"},
                             {"--", "start"},
                             {"--help=false"},
                             {"-h", "start"},
                             {"-h"},
                             {"--help"},
                             {"--help", "start"},
                             {"-h", "start", "-h"}}) {
    const GatewayCommand c = gateway(words);
    EXPECT_FALSE(c.options);
    EXPECT_EQ(c.end.exit_code, 0);
    EXPECT_EQ(c.end.err, "");
    EXPECT_EQ(c.end.out, fmt::format("gateway related command\n\n{}", kGatewayUsage))
        << fmt::format("{}", fmt::join(words, " "));
  }
}

TEST(Cobra, HelpOfACommand) {
  for (const Words& words : {Words{"start", "-h"},
                             {"start", "--help"},
                             {"start", "x", "--help=1"},
                             {"start", "--endpoints=a", "-h"}}) {
    const GatewayCommand c = gateway(words);
    EXPECT_EQ(c.end.exit_code, 0);
    EXPECT_EQ(c.end.out, fmt::format("start the gateway\n\n{}", kStartUsage));
  }
}

TEST(Cobra, Faults) {
  const struct {
    Words words;
    std::string error;
    bool of_start = true;
  } rows[] = {
      {{"--foo"}, "unknown flag: --foo", false},
      {{"start", "--foo"}, "unknown flag: --foo"},
      {{"start", "--foo=1"}, "unknown flag: --foo"},
      {{"start", "-x"}, "unknown shorthand flag: 'x' in -x"},
      {{"start", "-hx"}, "unknown shorthand flag: 'x' in -x"},
      {{"start", "-xyz"}, "unknown shorthand flag: 'x' in -xyz"},
      {{"start", "-'"}, "unknown shorthand flag: '\\'' in -'"},
      {{"start", "-\""}, "unknown shorthand flag: '\"' in -\""},
      {{"start", "-listen-addr=x"}, "unknown shorthand flag: 'l' in -listen-addr=x"},
      {{"start", "--listen-addr"}, "flag needs an argument: --listen-addr"},
      {{"start", "--=x"}, "bad flag syntax: --=x"},
      {{"start", "---x"}, "bad flag syntax: ---x"},
      {{"start", "--retry-delay=abc"},
       R"(invalid argument "abc" for "--retry-delay" flag: time: invalid duration "abc")"},
      {{"start", "--retry-delay", "1"},
       R"(invalid argument "1" for "--retry-delay" flag: time: missing unit in duration "1")"},
      {{"start", "--insecure-discovery=maybe"},
       R"(invalid argument "maybe" for "--insecure-discovery" flag: strconv.ParseBool: parsing "maybe": invalid syntax)"},
      {{"--help=x", "start"},
       R"(invalid argument "x" for "-h, --help" flag: strconv.ParseBool: parsing "x": invalid syntax)"},
      {{"start", "--endpoints=a\"b"},
       R"(invalid argument "a\"b" for "--endpoints" flag: parse error on line 1, column 2: bare " in non-quoted-field)"},
  };
  for (const auto& row : rows) {
    const GatewayCommand c = gateway(row.words);
    EXPECT_FALSE(c.options);
    EXPECT_EQ(c.end.exit_code, 1);
    EXPECT_EQ(c.end.out, "");
    EXPECT_EQ(c.end.err, fmt::format("Error: {}\n{}\n{}", row.error,
                                     row.of_start ? kStartUsage : kGatewayUsage, row.error));
  }
}

TEST(Cobra, Values) {
  const GatewayOptions defaults = *gateway({"start"}).options;
  EXPECT_EQ(defaults.listen_addr, "127.0.0.1:23790");
  EXPECT_EQ(defaults.endpoints, Words{"127.0.0.1:2379"});
  EXPECT_EQ(defaults.retry_delay_ns, 60'000'000'000);
  EXPECT_FALSE(defaults.insecure_discovery);
  const GatewayOptions o =
      *gateway({"--listen-addr", "start", "start", "word", "--endpoints=a,b", "-", "--endpoints", "\"c,d\"",
                "--insecure-discovery", "--retry-delay=-1.5s", "--", "--foo"})
           .options;
  EXPECT_EQ(o.listen_addr, "start");
  EXPECT_EQ(o.endpoints, (Words{"a", "b", "c,d"}));
  EXPECT_TRUE(o.insecure_discovery);
  EXPECT_EQ(o.retry_delay_ns, -1'500'000'000);
  EXPECT_EQ(gateway({"start", "--endpoints="}).options->endpoints, Words{});
  EXPECT_FALSE(
      gateway({"start", "--insecure-discovery", "--insecure-discovery=F"}).options->insecure_discovery);
}

TEST(Cobra, ALineOfCsv) {
  const struct {
    std::string text;
    std::string fields;  // joined by '|', or the error
  } rows[] = {
      {"a,b", "a|b"},
      {",", "|"},
      {"\"\"", ""},
      {"\n\na,b\nc", "a|b"},
      {"\r\n", "EOF"},
      {"\r", "EOF"},
      {"a\r", "a"},
      {"\"a,b\",c", "a,b|c"},
      {"\"a\"\"b\"", "a\"b"},
      {"\"a\nb\",c", "a\nb|c"},
      {"x,\"a\"b", "parse error on line 1, column 5: extraneous or missing \" in quoted-field"},
      {"\"a", "parse error on line 1, column 3: extraneous or missing \" in quoted-field"},
      {"\"a\nb",
       "record on line 1; parse error on line 2, column 2: extraneous or missing \" in quoted-field"},
      {"ab,c\"", "parse error on line 1, column 5: bare \" in non-quoted-field"},
  };
  for (const auto& row : rows) {
    const auto fields = read_csv_line(row.text);
    EXPECT_EQ(fields ? fmt::format("{}", fmt::join(*fields, "|")) : std::string(fields.error().text()),
              row.fields)
        << row.text;
  }
}

// etcdutl's tree: a root that runs nothing, flags that children share.
struct Tree {
  Tree() {
    root.persistent.add(
        {.name = "write-out", .shorthand = 'w', .help = "set the output `format`", .text = "simple"});
    CobraCommand& status = snapshot.add("status <filename>", "Gets backend snapshot status of a given file");
    status.runnable = true;
    status.description = "When --write-out is set to simple.\n";
    root.add("hashkv <filename>", "Prints the KV history hash of a given file").runnable = true;
  }
  CobraCommand root{"etcdutl", "A tool."};
  CobraCommand& snapshot = root.add("snapshot <subcommand>", "Manages etcd node snapshots");
};

TEST(Cobra, SharedFlags) {
  EXPECT_EQ(Tree().root.read({"snapshot", "status", "-h"}).out,
            "When --write-out is set to simple.\n\n"
            "Usage:\n"
            "  etcdutl snapshot status <filename> [flags]\n\n"
            "Flags:\n"
            "  -h, --help   help for status\n\n"
            "Global Flags:\n"
            "  -w, --write-out format   set the output format (default \"simple\")\n");
  for (const Words& words : {Words{"-w", "json", "snapshot", "status", "file"},
                             {"snapshot", "-wjson", "status", "file"},
                             {"snapshot", "status", "file", "--write-out=json"},
                             {"--write-out", "json", "snapshot", "status", "file"},
                             {"snapshot", "status", "-w=json", "file"}}) {
    Tree tree;
    const CobraOutcome o = tree.root.read(words);
    ASSERT_NE(o.command, nullptr) << o.err;
    EXPECT_EQ(o.command->path(), "etcdutl snapshot status");
    EXPECT_EQ(tree.root.persistent.at("write-out").text, "json");
    EXPECT_EQ(o.words, Words{"file"});
  }
  EXPECT_EQ(Tree().root.read({"hashkv", "-w"}).error, "flag needs an argument: 'w' in -w");
}

TEST(Cobra, CommandsOfTheRootThatAreNotThere) {
  EXPECT_EQ(Tree().root.read({"snapshat"}).err,
            "Error: unknown command \"snapshat\" for \"etcdutl\"\n\nDid you mean this?\n\tsnapshot\n\n"
            "Run 'etcdutl --help' for usage.\n");
  EXPECT_EQ(Tree().root.read({"HASH"}).err,
            "Error: unknown command \"HASH\" for \"etcdutl\"\n\nDid you mean this?\n\thashkv\n\n"
            "Run 'etcdutl --help' for usage.\n");
  EXPECT_EQ(Tree().root.read({"nothing"}).error, "unknown command \"nothing\" for \"etcdutl\"");
}

}  // namespace
}  // namespace quoin::cmd
