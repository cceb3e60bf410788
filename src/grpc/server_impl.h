// Inside of ServerConnection: the connection's state and its calls. Included by the files that implement it
// only: server_connection.cc (bytes, time, streams), server_bounds.cc, server_call.cc (life and requests),
// server_answer.cc, server_coding.cc (compression), http_stream.cc (requests without gRPC).
#pragma once
#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "grpc/deadline_heap.h"
#include "grpc/gzip.h"
#include "grpc/keepalive.h"
#include "grpc/message_reader.h"
#include "grpc/packer.h"
#include "grpc/request_head.h"
#include "grpc/server_connection.h"
#include "grpc/work_for_call.h"

namespace quoin::grpc {

// The connection's window once a first DATA frame came; a client that never sends much never sees it.
inline constexpr uint32_t kConnectionWindowBytes = 1 << 20;

// The owner asks for output afterwards: see ServerConnection::Impl::busy_.
struct Busy {
  explicit Busy(int& n) : n_(n) { ++n_; }
  ~Busy() { --n_; }
  int& n_;
};

// What a call and a message cost beside their bytes, and a byte that is unpacked or answered, as
// http2::Session::kTurnWork counts: so that one turn takes about 0.1 ms whatever a client sends.
inline constexpr size_t kCallWork = 256;
inline constexpr size_t kMessageWork = 512;
inline constexpr size_t kBytesPerWork = 4;

// A stream of the connection, whatever is spoken on it: gRPC (ServerCall) or plain HTTP (http_stream.h). What the bounds
// of the connection need of it stands here (server_bounds.cc).
class ServerStream {
 public:
  explicit ServerStream(ServerConnection::Impl& owner) : owner_(owner) {}
  virtual ~ServerStream() = default;
  http2::StreamId stream() const { return stream_; }

  // Whoever takes the bytes gives them back to the windows (give_credit()).
  virtual void on_data(std::string_view bytes) = 0;
  virtual void on_half_close() = 0;
  // The HTTP/2 stream is over. The last call: it may be destroyed, or used for another stream.
  virtual void on_closed() = 0;
  // What arrives is kept, so that the window does not grow.
  virtual bool paused() const = 0;
  // Its request is complete, held, and not answered.
  virtual bool waits_for_answer() const = 0;
  // Its request, which is not complete, holds too much: drops it and resets the stream with REFUSED_STREAM.
  virtual void refuse() = 0;

  ServerStream *older = nullptr, *younger = nullptr;  // among those with a message under way
  bool under_way = false;
  size_t wanted = 0, granted = 0;  // a larger window, for a long message
  size_t owed_stream = 0;          // received bytes not yet given back to the stream's window

 protected:
  ServerConnection::Impl& owner_;
  http2::StreamId stream_ = 0;
};

// A gRPC call: reads messages out of the stream's DATA, hands them to the service, queues what it answers.
// When the HTTP/2 stream is over it is released and used again for another call.
class ServerCall final : public Call, public ServerStream, public http2::BodySource {
 public:
  explicit ServerCall(ServerConnection::Impl& owner) : ServerStream(owner) {}

  // ---- for the connection ----
  void open(http2::StreamId stream, const Method& method, http2::HeaderBlock& headers,
            const RequestHead& head, io::MonotonicNs deadline);
  // Streams only: hands the call to its service.
  void start_stream();
  void on_writable();
  // Parked: hands the request to the service now.
  void serve();
  bool was_served() const { return s_.served; }  // unary
  void cancel(CancelReason reason);
  // The stream is over: forgets everything.
  void release();
  io::MonotonicNs heap_key() const { return deadline_; }
  uint32_t heap_place = DeadlineHeap<ServerCall>::kNoPlace;
  size_t live_place = 0;  // in the connection's list of calls
  bool coding = false;    // among the connection's calls with messages to compress or decompress
  void code_step();       // of that

  // ---- ServerStream ----
  void on_data(std::string_view bytes) override;
  void on_half_close() override;
  void on_closed() override;
  bool paused() const override { return s_.input == Input::kPaused || gunzip_ != nullptr; }
  bool waits_for_answer() const override { return !ended_ && method_->kind != MethodKind::kBidiStream; }
  void refuse() override;

  // ---- Call ----
  std::optional<std::string_view> metadata(std::string_view key) const override;
  std::string_view peer_address() const override;
  std::optional<std::string_view> tls_common_name() const override;
  char* begin_message(size_t size) override;
  void end_message() override;
  void send(std::string_view head, const Blob& tail) override { send(head, std::span(&tail, 1)); }
  void send(std::string_view head, std::span<const Blob> parts) override;
  void hold_prepared(size_t bytes) override;
  void finish(GrpcStatus status, std::string_view text) override;
  void fail_decode(std::string_view detail) override;
  size_t queued_bytes() const override { return out_.size() + (packer_ ? packer_->waiting_bytes() : 0); }
  bool writable() const override;
  void pause_reading() override;
  void resume_reading() override;
  std::shared_ptr<const void> work() const override;

  // ---- http2::BodySource ----
  Ready ready(size_t limit) override;
  void write(size_t n, http2::ByteQueue& out) override;
  bool copy(size_t n, char* out) override;
  bool trailers() override;

 private:
  void read(std::string_view bytes);
  void read_on();
  void account_read();
  // False: the message was malformed and the call has been ended, or it is being decompressed.
  bool unpack_message();
  bool unzip_step();
  void deliver_message();
  void end_of_messages();
  // Ends the call for what the client sent; `status` is counted for streams, whose service had started.
  void bad_message(GrpcStatus status, std::string_view text);
  void message_queued(size_t message_bytes, size_t queued_before);
  bool packing() const { return packer_ && !packer_->idle(); }
  void pack(std::string head, std::span<const Blob> parts);
  void pack_step();
  void hold_packing();
  void drop_packing();
  void tell_writable_if_low();
  void start_response();
  void count_started();
  void leave_service();  // ended_ becomes true
  void submit_trailers_only();
  void wake_output();
  void hold_request(int64_t delta);
  void hold_answer(int64_t delta);
  void took_output(size_t bytes);

  // What the service knows of the call.
  enum class Phase : uint8_t {
    kReceiving,  // nothing: a unary request that is not complete
    kParked,     // nothing: complete, but unread answers hold too much
    kServing,    // the call is its own, until it ends it
    kEnded,      // answered or cancelled: nothing is told any more
  };
  // What becomes of bytes that arrive.
  enum class Input : uint8_t {
    kOpen,
    kPaused,  // kept until the service resumes
    kDone,    // dropped: no further message is wanted
  };
  // Who waits for whom when an answer goes out.
  enum class Output : uint8_t {
    kNotBegun,  // no headers yet
    kPacking,   // no headers yet: a unary call's answer is being compressed, and all of it leaves then
    kAsleep,    // libnghttp2 found nothing to send and waits for resume()
    kAwake,     // it will ask
  };
  // What of a call the metrics have seen.
  enum class Counted : uint8_t { kNot, kStarted, kUndecodable };

  // All that changes with a call beside its buffers.
  struct State {
    Phase phase = Phase::kReceiving;
    Input input = Input::kOpen;
    Output output = Output::kNotBegun;
    Counted counted = Counted::kNot;
    bool has_encoding = false;   // grpc-encoding: gzip
    bool have_request = false;   // the one message of a unary call or a server stream
    bool half_closed = false;    // by the client
    bool served = false;         // a unary request was handed to its service
    bool delivering = false;     // in read(): it goes on by itself when a service resumes in between
    bool bad_message = false;    // a stream's: it was no message, and does not count as received
    bool tell_writable = false;  // the queue was full
    GrpcStatus status = GrpcStatus::kOk;
    int64_t request_held = 0;   // bytes charged to the connection, of the request,
    int64_t headers_held = 0;   // its metadata
    int64_t prepared = 0;       // an answer under construction
    int64_t packing = 0;        // and messages that wait to be compressed
    size_t message_bytes = 0;   // of the message being queued
    size_t before_message = 0;  // bytes queued before it
  };

  State s_;
  http2::HeaderBlock headers_;
  std::unique_ptr<StreamListener> listener_;
  mutable std::shared_ptr<WorkForCall> work_;  // made when it is asked for

  MessageReader reader_;
  std::string request_;   // unary, server stream: the one message
  std::string unzipped_;  // of the message being decompressed
  std::string pending_;   // received while paused()
  // While the message that is complete in reader_ is being decompressed, or waits for a paused service then.
  std::unique_ptr<Gunzip> gunzip_;
  bool unzipped_all_ = false;

  http2::ByteQueue out_;
  Blob large_;                      // the message between begin_message() and end_message()
  std::string plain_;               // the same, to be compressed
  std::unique_ptr<Packer> packer_;  // once there was something to compress
  std::string status_text_;         // percent-encoded
  std::string content_type_;        // empty: plain application/grpc
};

class HttpStream;

class ServerConnection::Impl final : public http2::SessionHandler {
 public:
  Impl(ServerContext& context, PeerInfo peer, Notify& notify, io::MonotonicNs now);
  ~Impl() override;

  Result<> feed(std::string_view bytes, io::MonotonicNs now);
  Result<> produce(http2::ByteQueue& out, size_t limit);
  bool unfed() const { return session_.unfed(); }
  bool wants_write() const { return session_.wants_write(); }
  bool coding() const { return !coding_.empty(); }
  bool coding_full() const { return coding_.size() > ServerConnection::kCodingCalls; }
  void code(io::MonotonicNs now);
  void heard(io::MonotonicNs now) { keepalive_.on_read(now); }
  io::MonotonicNs next_tick() const;
  Result<> tick(io::MonotonicNs now);
  void shutdown(io::MonotonicNs now);
  bool done() const;
  void close(CancelReason reason);
  size_t calls_in_progress() const { return in_progress_; }
  size_t held_bytes() const { return static_cast<size_t>(held()); }
  bool blocked() const;
  void tell(Bound bound) { context_.probe.bound_reached(bound, peer_.address); }

  // ---- for ServerCall ----
  ServerContext& context() { return context_; }
  io::MonotonicNs now() const { return now_; }  // of the feed(), produce() or tick() under way
  const PeerInfo& peer() const { return peer_; }
  http2::Session& session() { return session_; }
  void call_ended(ServerCall& call);
  // A stream whose request was complete needs its answer no longer.
  void answered(ServerStream& stream) { answering_ -= stream.under_way ? 0 : 1; }
  // The call's HTTP/2 stream is over; it may be used again. Or the stream is destroyed.
  void retire(ServerCall& call);
  void forget(HttpStream& stream);
  // So many received bytes of the stream were taken.
  void give_credit(ServerStream& stream, size_t bytes);
  void hold_request(int64_t delta) { hold(request_bytes_, delta); }
  void hold_answer(int64_t delta, bool unary);
  void hold_headers(int64_t delta) { hold(header_bytes_, delta); }
  // Whether a complete request may be served now. False: it waits, and serve() will be called.
  bool may_serve(ServerCall& call);
  const std::shared_ptr<std::atomic<int64_t>>& left_behind() const { return left_behind_; }
  void message_under_way(ServerStream& stream);
  void message_complete(ServerStream& stream);
  // The message under way is this long, prefix included.
  void want_window(ServerStream& stream, size_t message_bytes);
  void became_writable(ServerCall& call) { writable_.push_back(call.id()); }
  // True if this many bytes may be compressed or decompressed at once instead of in a later step; then it
  // counts them.
  bool may_code_now(size_t bytes);
  // Counts what a message was decompressed to: a few bytes may become a step's worth.
  void coded_more(size_t bytes);
  // The call has something to compress or decompress: its step will come.
  void code_later(ServerCall& call);
  // The same before all others: one request that has begun to be decompressed is finished before the next
  // begins, so that a client has one of them at a time, whatever they unpack to.
  void code_next(ServerCall& call);
  void coded(ServerCall& call);
  // There is something to send; tells the owner unless it will ask anyway.
  void output_ready();

 private:
  // ---- http2::SessionHandler ----
  void on_headers(http2::StreamId id, void* user, http2::HeaderBlock& headers, bool end_stream) override;
  bool on_headers_too_large(http2::StreamId id) override;
  size_t header_room() override;
  void on_stream_refused(http2::StreamId) override { tell(Bound::kStreams); }
  void on_data(http2::StreamId id, void* user, std::string_view bytes) override;
  void on_end_stream(http2::StreamId id, void* user) override;
  void on_stream_closed(http2::StreamId id, void* user, http2::ErrorCode code) override;
  void on_end_sent(http2::StreamId id, void* user, bool remote_open) override;
  void on_ping(bool ack, uint64_t payload) override;
  void on_progress_sent() override { police_.on_progress_sent(); }

  void refuse(http2::StreamId id, const RequestHead::Refusal& refusal, std::string_view subtype);
  void send_goaway();
  ServerCall& acquire();
  bool streams_open() const { return !live_.empty() || !http_.empty(); }
  int64_t held() const { return request_bytes_ + answer_bytes_ + header_bytes_; }
  void hold(int64_t& what, int64_t delta);
  bool answers_full() const;
  void serve_parked();
  bool over_bound() const;
  bool may_grow(const ServerStream& stream) const;
  void refuse_youngest();
  void grant_windows();
  void settle_credit();

  ServerContext& context_;
  const PeerInfo peer_;
  Notify& notify_;
  io::MonotonicNs now_;

  std::vector<std::unique_ptr<ServerCall>> free_;
  std::vector<std::unique_ptr<ServerCall>> live_;  // calls whose stream is open
  std::vector<std::unique_ptr<HttpStream>> http_;  // streams without gRPC
  DeadlineHeap<ServerCall> deadlines_;
  std::vector<CallId> writable_;                          // to be told once produce() is through
  std::deque<ServerCall*> coding_;                        // each has a step to do; in turn
  size_t coded_bytes_ = 0;                                // since the last produce() or code()
  size_t in_progress_ = 0;                                // of live_: not ended
  ServerStream *oldest_ = nullptr, *youngest_ = nullptr;  // messages under way

  size_t wanting_ = 0;    // calls that wait for a larger window
  size_t granted_ = 0;    // bytes of larger windows given to messages under way
  size_t answering_ = 0;  // streams whose request is complete, held and not answered (not of bidi calls)
  int64_t request_bytes_ = 0, answer_bytes_ = 0, header_bytes_ = 0;
  int64_t unary_answer_bytes_ = 0;  // of answer_bytes_
  int64_t unfinished_headers_ = 0;  // of header_bytes_: not of a call yet
  std::deque<CallId> parked_;       // in the order in which their requests were complete
  size_t unary_streams_ = 0;        // open, of unary calls that were served
  int64_t unreported_ = 0;          // to the MemoryBudget
  size_t owed_connection_ = 0;      // received bytes not yet given back to the connection's window
  bool stream_credit_withheld_ = false;
  bool window_raised_ = false;

  PingPolice police_;
  Keepalive keepalive_;
  bool too_many_pings_ = false;
  enum class Stop : uint8_t {
    kNo,
    kNotice,  // shutdown(): the notice is out, the client's acknowledgement is awaited
    kGoaway,  // the last stream id is named
    kClosed,  // close()
  } stop_ = Stop::kNo;
  io::MonotonicNs notice_until_ = kNoDeadline;  // of kNotice
  // Cancelled calls for which something is still done.
  const std::shared_ptr<std::atomic<int64_t>> left_behind_ = std::make_shared<std::atomic<int64_t>>(0);
  int busy_ = 0;  // in feed(), produce() or tick(): the owner asks for output afterwards

  http2::Session session_;
};

}  // namespace quoin::grpc
