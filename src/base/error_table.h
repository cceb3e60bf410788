// Every error code, with the gRPC status and the message clients see. Texts are etcd's (spec
// api-semantics 1.6-1.8); rows above the line are internal and carry texts of their own.
#pragma once
#include <cstdint>
#include <string_view>

namespace quoin {

enum class GrpcStatus : uint8_t {
  kOk = 0,
  kCanceled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

// X(name, status, text)
#define QUOIN_ERRORS(X)                                                                                     \
  /* ---- internal: disk, formats, arguments ---- */                                                        \
  X(kIo, kUnknown, "input/output error")                                                                    \
  X(kNoSpaceOnDevice, kUnknown, "no space left on device")                                                  \
  X(kFileNotFound, kUnknown, "file not found")                                                              \
  X(kFileExists, kUnknown, "file already exists")                                                           \
  X(kLocked, kUnknown, "file already locked")                                                               \
  X(kCorruption, kDataLoss, "corruption")                                                                   \
  X(kTornTail, kDataLoss, "unexpected EOF")                                                                 \
  X(kMalformed, kInternal, "malformed input")                                                               \
  X(kInvalidArgument, kInvalidArgument, "invalid argument")                                                 \
  X(kNotFound, kNotFound, "not found")                                                                      \
  X(kLimit, kResourceExhausted, "limit exceeded")                                                           \
  X(kUnsupported, kUnimplemented, "unsupported")                                                            \
  X(kStopped, kUnavailable, "stopped")                                                                      \
  X(kProposalDropped, kUnknown, "raft proposal dropped")                                                    \
  X(kLogCompacted, kUnknown, "requested index is unavailable due to compaction")                            \
  X(kLogUnavailable, kUnknown, "requested entry at index is unavailable")                                   \
  X(kSnapshotTemporarilyUnavailable, kUnknown, "snapshot is temporarily unavailable")                       \
  /* ---- client visible ---- */                                                                            \
  X(kEmptyKey, kInvalidArgument, "etcdserver: key is not provided")                                         \
  X(kKeyNotFound, kInvalidArgument, "etcdserver: key not found")                                            \
  X(kValueProvided, kInvalidArgument, "etcdserver: value is provided")                                      \
  X(kLeaseProvided, kInvalidArgument, "etcdserver: lease is provided")                                      \
  X(kTooManyOps, kInvalidArgument, "etcdserver: too many operations in txn request")                        \
  X(kDuplicateKey, kInvalidArgument, "etcdserver: duplicate key given in txn request")                      \
  X(kInvalidClientApiVersion, kInvalidArgument, "etcdserver: invalid client api version")                   \
  X(kInvalidSortOption, kInvalidArgument, "etcdserver: invalid sort option")                                \
  X(kCompacted, kOutOfRange, "etcdserver: mvcc: required revision has been compacted")                      \
  X(kFutureRev, kOutOfRange, "etcdserver: mvcc: required revision is a future revision")                    \
  X(kNoSpace, kResourceExhausted, "etcdserver: mvcc: database space exceeded")                              \
  X(kLeaseNotFound, kNotFound, "etcdserver: requested lease not found")                                     \
  X(kLeaseExist, kFailedPrecondition, "etcdserver: lease already exists")                                   \
  X(kLeaseTtlTooLarge, kOutOfRange, "etcdserver: too large lease TTL")                                      \
  X(kWatchCanceled, kCanceled, "etcdserver: watch canceled")                                                \
  X(kMemberExist, kFailedPrecondition, "etcdserver: member ID already exist")                               \
  X(kPeerUrlExist, kFailedPrecondition, "etcdserver: Peer URLs already exists")                             \
  X(kMemberNotEnoughStarted, kUnknown,                                                                      \
    "etcdserver: re-configuration failed due to not enough started members")                                \
  X(kMemberBadUrls, kInvalidArgument, "etcdserver: given member URLs are invalid")                          \
  X(kMemberNotFound, kNotFound, "etcdserver: member not found")                                             \
  X(kMemberNotLearner, kFailedPrecondition, "etcdserver: can only promote a learner member")                \
  X(kLearnerNotReady, kFailedPrecondition,                                                                  \
    "etcdserver: can only promote a learner member which is in sync with leader")                           \
  X(kTooManyLearners, kFailedPrecondition, "etcdserver: too many learner members in cluster")               \
  X(kRequestTooLarge, kInvalidArgument, "etcdserver: request is too large")                                 \
  X(kTooManyRequests, kUnknown, "etcdserver: too many requests")                                            \
  X(kPermissionDenied, kPermissionDenied, "etcdserver: permission denied")                                  \
  X(kAuthNotEnabled, kFailedPrecondition, "etcdserver: authentication is not enabled")                      \
  X(kInvalidAuthToken, kUnauthenticated, "etcdserver: invalid auth token")                                  \
  X(kAuthOldRevision, kInvalidArgument, "etcdserver: revision of auth store is old")                        \
  X(kRootUserNotExist, kFailedPrecondition, "etcdserver: root user does not exist")                         \
  X(kRootRoleNotExist, kFailedPrecondition, "etcdserver: root user does not have root role")                \
  X(kUserExist, kFailedPrecondition, "etcdserver: user name already exists")                                \
  X(kUserEmpty, kInvalidArgument, "etcdserver: user name is empty")                                         \
  X(kUserNotFound, kFailedPrecondition, "etcdserver: user name not found")                                  \
  X(kRoleExist, kFailedPrecondition, "etcdserver: role name already exists")                                \
  X(kRoleNotFound, kFailedPrecondition, "etcdserver: role name not found")                                  \
  X(kRoleEmpty, kInvalidArgument, "etcdserver: role name is empty")                                         \
  X(kAuthFailed, kInvalidArgument, "etcdserver: authentication failed, invalid user ID or password")        \
  X(kNoPasswordUser, kUnknown, "auth: authentication failed, password was given for no password user")      \
  X(kPasswordTooLong, kUnknown, "bcrypt: password length exceeds 72 bytes")                                 \
  X(kPermissionNotGiven, kInvalidArgument, "etcdserver: permission not given")                              \
  X(kRoleNotGranted, kFailedPrecondition, "etcdserver: role is not granted to the user")                    \
  X(kPermissionNotGranted, kFailedPrecondition, "etcdserver: permission is not granted to the role")        \
  X(kInvalidAuthMgmt, kInvalidArgument, "etcdserver: invalid auth management")                              \
  X(kTokenVerifyOnly, kUnknown, "auth: token signing attempted with verify-only key")                       \
  X(kNoLeader, kUnavailable, "etcdserver: no leader")                                                       \
  X(kNotLeader, kFailedPrecondition, "etcdserver: not leader")                                              \
  X(kLeaderChanged, kUnavailable, "etcdserver: leader changed")                                             \
  X(kNotCapable, kFailedPrecondition, "etcdserver: not capable")                                            \
  X(kServerStopped, kUnavailable, "etcdserver: server stopped")                                             \
  X(kTimeout, kUnavailable, "etcdserver: request timed out")                                                \
  X(kTimeoutLeaderFail, kUnavailable,                                                                       \
    "etcdserver: request timed out, possibly due to previous leader failure")                               \
  X(kTimeoutConnectionLost, kUnavailable, "etcdserver: request timed out, possibly due to connection lost") \
  X(kTimeoutWaitAppliedIndex, kUnavailable,                                                                 \
    "etcdserver: request timed out, waiting for the applied index took too long")                           \
  X(kTimeoutLeaderTransfer, kUnknown, "etcdserver: request timed out, leader transfer took too long")       \
  X(kUnhealthy, kUnavailable, "etcdserver: unhealthy cluster")                                              \
  X(kCorrupt, kDataLoss, "etcdserver: corrupt cluster")                                                     \
  X(kNotSupportedForLearner, kFailedPrecondition, "etcdserver: rpc not supported for learner")              \
  X(kBadLeaderTransferee, kFailedPrecondition, "etcdserver: bad leader transferee")                         \
  X(kWrongDowngradeVersionFormat, kInvalidArgument, "etcdserver: wrong downgrade target version format")    \
  X(kInvalidDowngradeTargetVersion, kInvalidArgument, "etcdserver: invalid downgrade target version")       \
  X(kClusterVersionUnavailable, kFailedPrecondition,                                                        \
    "etcdserver: cluster version not found during downgrade")                                               \
  X(kDowngradeInProcess, kFailedPrecondition, "etcdserver: cluster has a downgrade job in progress")        \
  X(kNoInflightDowngrade, kFailedPrecondition, "etcdserver: no inflight downgrade job")                     \
  X(kRequestCancelled, kUnknown, "etcdserver: request cancelled")                                           \
  X(kContextCanceled, kCanceled, "context canceled")                                                        \
  X(kContextDeadlineExceeded, kDeadlineExceeded, "context deadline exceeded")                               \
  X(kUnknownMethod, kUnknown, "etcdserver: unknown method")                                                 \
  X(kNotPrimary, kUnknown, "not a primary lessor")

enum class Code : uint16_t {
#define X(name, status, text) name,
  QUOIN_ERRORS(X)
#undef X
};

struct ErrorInfo {
  std::string_view name;
  GrpcStatus grpc;
  std::string_view text;
};
const ErrorInfo& error_info(Code code);

}  // namespace quoin
