#include "grpc/client_status.h"

#include <gtest/gtest.h>

namespace quoin::grpc {
namespace {

// As grpc-go words them.
TEST(ClientStatus, HeadsThatAreNotGrpc) {
  struct Case {
    std::optional<std::string_view> status, type;
    int code;
    std::string_view text;
  };
  for (const Case& c : {
           Case{"404", "text/plain", 12,
                "unexpected HTTP status code received from server: 404 (Not Found); transport: received "
                "unexpected content-type \"text/plain\""},
           Case{"503", "application/grpc", 14,
                "unexpected HTTP status code received from server: 503 (Service Unavailable)"},
           Case{"401", std::nullopt, 16,
                "unexpected HTTP status code received from server: 401 (Unauthorized); malformed header: "
                "missing HTTP content-type"},
           Case{"200", "text/html", 2, "transport: received unexpected content-type \"text/html\""},
           Case{std::nullopt, "application/grpc", 13, "malformed header: missing HTTP status"},
           Case{"299", "application/grpc", 2, "unexpected HTTP status code received from server: 299 ()"},
       }) {
    const auto fault = head_fault(c.status, c.type);
    ASSERT_TRUE(fault) << c.text;
    EXPECT_EQ(static_cast<int>(fault->status), c.code);
    EXPECT_EQ(fault->text, c.text);
  }
  EXPECT_FALSE(head_fault("200", "application/grpc"));
  EXPECT_FALSE(head_fault("200", "application/grpc+proto"));
  EXPECT_TRUE(informational("103"));
  EXPECT_FALSE(informational("200"));
  EXPECT_FALSE(informational(std::nullopt));
}

TEST(ClientStatus, Resets) {
  EXPECT_EQ(reset_status(http2::ErrorCode::kEnhanceYourCalm), GrpcStatus::kResourceExhausted);
  EXPECT_EQ(reset_status(http2::ErrorCode::kNoError), GrpcStatus::kInternal);
  EXPECT_EQ(reset_status(static_cast<http2::ErrorCode>(99)), GrpcStatus::kUnknown);
  EXPECT_EQ(reset_text(http2::ErrorCode::kInternalError),
            "stream terminated by RST_STREAM with error code: INTERNAL_ERROR");
  EXPECT_EQ(reset_text(static_cast<http2::ErrorCode>(99)),
            "stream terminated by RST_STREAM with error code: unknown error code 0x63");
}

}  // namespace
}  // namespace quoin::grpc
