// Forward declarations of mvcc's types.
#pragma once

namespace quoin::mvcc {
class CatchUp;
class HashKvRun;
class IndexView;
class KeyIndex;
class LeaseAttachments;
class RangeScan;
class ReadView;
class Store;
class ViewCell;
class WatchSink;
class WatchTable;
class WriteTxn;
struct KeyMeta;
struct KeyValueRef;
struct RangeRequest;
struct WatchMessage;
struct WatchRequest;
}  // namespace quoin::mvcc
