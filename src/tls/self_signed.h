// The certificates of --auto-tls and --peer-auto-tls.
//
// Files: <dir>/cert.pem (0666 less the umask) and <dir>/key.pem (0600, type "EC PRIVATE KEY"); the directory
// and what is missing above it are made with 0700. Both there: nothing is written, whatever stands in them
// and however old they are. The certificate: ECDSA P-521, a random serial of 128 bits, subject and issuer
// O=etcd, valid from now for years x 365 days, key usage digitalSignature, keyEncipherment and cRLSign
// (critical), extended usage serverAuth, CA:TRUE (critical), a subject key id, SANs as the hosts come,
// duplicates kept.
//
// Threads: blocks on files and makes a key (milliseconds): at start.
// Errors: kInvalidArgument "selfSignedCertValidity is invalid,it should be greater than 0"; those of the file
// system.
// Source: spec operations 4.3; etcd's client/pkg/transport/listener.go (SelfCert).
#pragma once
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "io/clock.h"
#include "io/file.h"

namespace quoin::tls {

struct SelfSigned {
  std::string cert_file, key_file;
};

// `dir`: absolute, "/data/fixtures/client". `hosts`: of the listen URLs, with their ports ("127.0.0.1:2379",
// "localhost:2379"), as they come.
Result<SelfSigned> ensure_self_signed(io::FileSystem& files, const std::string& dir,
                                      const std::vector<std::string>& hosts, unsigned validity_years,
                                      const io::Clock& clock, log::Logger& logger);

}  // namespace quoin::tls
