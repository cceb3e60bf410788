// How a role is shown, by `role get` and by `user get --detail`.
//
// Threads: none. Source: etcdctl/ctlv3/command/printer_{simple,fields}.go; spec cli 8.
#pragma once
#include <string>

#include "cmd/etcdctl/printer.h"

namespace quoin::ctl {

// `response` outlives the forms.
Forms role_forms(const std::string& role, const pb::AuthRoleGetResponse& response);

}  // namespace quoin::ctl
