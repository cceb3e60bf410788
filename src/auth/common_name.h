// Who a call comes from: by its token, or by the client certificate of its connection.
//
//   metadata "token", else "authorization"  -> token_of(): the token, without a leading "Bearer "
//   a token that is valid                   -> that user (tokens.h, jwt.h)
//   a token that is not                     -> kInvalidAuthToken; the certificate does not count then
//   no token, and --client-cert-auth        -> common_name_info()
//
// While auth is off tokens are not looked at; the certificate is, and its name goes into the header of the
// entry.
// Threads: none of this keeps state.
// Source: spec api-semantics 6.7; etcd's store.go (AuthInfoFromCtx, AuthInfoFromTLS).
#pragma once
#include <optional>
#include <string_view>

#include "auth/checks.h"

namespace quoin::auth {

constexpr std::string_view kTokenKey = "token";
constexpr std::string_view kAuthorizationKey = "authorization";
constexpr std::string_view kGatewayKey = "grpcgateway-accept";

// The first value of each key, if the call's metadata has the key.
inline std::optional<std::string_view> token_of(std::optional<std::string_view> token,
                                                std::optional<std::string_view> authorization) {
  constexpr std::string_view kBearer = "Bearer ";
  std::optional<std::string_view> value = token ? token : authorization;
  if (value && value->starts_with(kBearer)) value->remove_prefix(kBearer.size());
  return value;
}

// `common_name`: of the subject of the first certificate of the first verified chain that has one; empty
// optional: the connection has no verified client certificate. An empty name is a name: it counts as
// authenticated, and no user has it. `through_gateway`: the call came by the JSON gateway, whose connection shows
// a certificate of the server.
inline std::optional<AuthInfo> common_name_info(const Permissions& permissions,
                                                std::optional<std::string_view> common_name,
                                                bool through_gateway) {
  if (!common_name || through_gateway) return std::nullopt;
  return AuthInfo{std::string(*common_name), permissions.revision};
}

}  // namespace quoin::auth
