// What is wrong with certificates, in the words of Go's crypto/tls.
//
// Threads: any. Source: etcd's client/pkg/transport (TLSInfo.ClientConfig), client/pkg/tlsutil (NewCertPool).
#pragma once
#include <string>

#include "cmd/etcdctl/transport.h"

namespace quoin::ctl {

// "tls: private key does not match public key"; empty: the pair can be used.
std::string pair_error(const std::string& certificate_pem, const std::string& key_pem);
// "x509: malformed certificate"; empty: all blocks are certificates. A text without a block is none either, as in etcd.
std::string authorities_error(const std::string& pem);

// Why no TLS connection comes about over the connected socket `fd`, which belongs to the caller; empty: it does, or the
// other side has not said why within a second. `roots_pem`: of the system, if the configuration names none.
// grpc++ does not tell, so the handshake is made once more.
std::string handshake_error(int fd, const TlsConfig& tls, const std::string& roots_pem,
                            const std::string& server_name);

}  // namespace quoin::ctl
