// The table of `-w table`: right-aligned cells between + - |, a centred header in capitals, long cells on several lines.
//
//   Table table({"hash", "revision"});
//   table.add({"80018e9e", "34"});
//   fputs(table.text().c_str(), stdout);
//
// Threads: none. Cost of a cell: the square of its words, if it is wider than 30 columns.
// Source: olekukonko/tablewriter 0.0.5 as etcdctl and etcdutl configure it (spec cli 1.1).
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace quoin::cmd {

class Table {
 public:
  explicit Table(const std::vector<std::string>& header);
  // As many cells as the header has.
  void add(const std::vector<std::string>& cells);
  // The whole table, each line with its end.
  std::string text() const;

 private:
  using Row = std::vector<std::vector<std::string>>;  // of each cell its lines
  Row wrapped(const std::vector<std::string>& cells);

  Row header_;
  std::vector<Row> rows_;
  std::vector<size_t> widths_;  // of the columns
};

}  // namespace quoin::cmd
