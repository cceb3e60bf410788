// WebSocket frames of a server (RFC 6455): what a client sends, read from bytes in any cut, and what is sent to it.
//
// As in the library etcd uses: no extensions, so no reserved bits; a client's frames are masked; a message may come in
// fragments with control frames in between. What breaks this ends the connection with close code 1002.
//
// Threads: none of its own. Memory: a control frame at most; the payload of messages is handed on as it comes, and so
// are the lines that are written.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace quoin::httpapi::gateway {

class WebSocketReader {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // A part of a message, unmasked; it lives during the call.
    virtual void on_payload(std::string_view part) = 0;
    virtual void on_message_end() = 0;
    virtual void on_ping(std::string_view payload) = 0;
    // The client's farewell; nothing follows. 1005: it named no code.
    virtual void on_close(uint16_t code) = 0;
    // The client broke a rule; nothing follows.
    virtual void on_violation(std::string_view text) = 0;
  };

  // Nothing is taken any more once the handler was told of a close or violation. A handler may not call feed().
  void feed(std::string_view bytes, Handler& handler);

 private:
  // Of the head in head_: its whole length, or 0 while that is not known.
  size_t head_length() const;
  void begin_frame(Handler& handler);
  void end_frame(Handler& handler);
  void violate(Handler& handler, std::string_view text);

  std::string head_;
  bool in_frame_ = false, ended_ = false;
  bool final_ = false, in_message_ = false;
  uint8_t opcode_ = 0;
  uint64_t left_ = 0;  // of the frame's payload
  uint8_t mask_[4] = {};
  unsigned mask_at_ = 0;
  std::string control_;  // payload of a control frame
};

enum class WebSocketOpcode : uint8_t { kContinuation = 0, kText = 1, kClose = 8, kPong = 10 };
// A whole frame of a server, unmasked.
std::string websocket_frame(WebSocketOpcode opcode, std::string_view payload);
// Makes a text message of each line of a text that comes in pieces. A line that is not whole at the end of a
// piece leaves as a fragment of its message, so that nothing of it is held; control frames may stand between
// fragments. As in etcd's proxy, the end of a line is \n or \r\n, and an empty line is no message.
class WebSocketLines {
 public:
  // Appends the frames of a further piece to `out`.
  void add(std::string_view text, std::string& out);
  // The text is over, and with it its last line.
  void end(std::string& out);

 private:
  void add_part(std::string_view part, bool last, std::string& out);

  bool begun_ = false;        // a fragment of the line's message was written
  bool held_return_ = false;  // a \r that ended the last piece: of the line, unless the line ends now
};
// Of a close frame.
std::string websocket_close_payload(uint16_t code, std::string_view text);
// The answer to a client's Sec-WebSocket-Key.
std::string websocket_accept(std::string_view key);

}  // namespace quoin::httpapi::gateway
