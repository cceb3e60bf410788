// URLs as etcd's options take them (spec operations 1.8, "URL syntax").
#pragma once
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "cmd/etcd/config.h"
#include "membership/go_url.h"

namespace quoin::cmd {

// A comma list; blanks around each URL are dropped; sorted by text, doubles kept.
// Errors: kInvalidArgument with etcd's or Go's words.
Result<Urls> parse_urls(std::string_view comma_list);

using membership::split_host_port;

// Whether each URL's port is one: what Go finds when it listens, and its text.
Result<> check_ports(const Urls& urls);

// An IPv4 or IPv6 literal (a zone is not one).
bool is_ip(std::string_view host);
// Of a literal. IPv4 in IPv6 counts as what it holds.
bool is_loopback_or_unspecified(std::string_view ip);

}  // namespace quoin::cmd
