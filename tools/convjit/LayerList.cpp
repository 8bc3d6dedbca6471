//===- LayerList.cpp - lists of layers in files -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LayerList.h"
#include "Layer.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>

using namespace convjit;
using namespace convjit::cli;

namespace {

/// One record of a CSV file and the line it starts at.
struct Record {
  int line;
  std::vector<std::string> fields;
};

/// Records of RFC 4180: quoted fields may hold commas, line ends and doubled
/// quotes. Empty lines are left out.
std::vector<Record> csvRecords(const std::string &text) {
  std::vector<Record> records;
  Record record{1, {""}};
  int line = 1;
  bool quoted = false;
  auto finish = [&] {
    if (record.fields.size() > 1 || !record.fields[0].empty())
      records.push_back(std::move(record));
    record = {line, {""}};
  };
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    line += c == '\n';
    if (quoted && c == '"' && i + 1 < text.size() && text[i + 1] == '"')
      record.fields.back() += text[++i];
    else if (c == '"')
      quoted = !quoted;
    else if (quoted)
      record.fields.back() += c;
    else if (c == ',')
      record.fields.emplace_back();
    else if (c == '\n')
      finish();
    else if (c != '\r')
      record.fields.back() += c;
  }
  finish();
  return records;
}

} // namespace

Expected<std::vector<ListedLayer>>
convjit::cli::readLayerList(const std::string &path) {
  std::error_code isFolder;
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path, isFolder))
    return environmentError("--file=" + path + ": cannot be read");
  std::string text(std::istreambuf_iterator<char>(file), {});
  if (text.starts_with("\xef\xbb\xbf")) // spreadsheets put a byte order mark
    text.erase(0, 3);
  std::vector<Record> records = csvRecords(text);
  auto bad = [&](int line, const std::string &what) {
    return badInput("--file=" + path + ": line " + std::to_string(line) + ": " +
                    what);
  };
  std::vector<std::string> header;
  if (!records.empty())
    header = records[0].fields;
  auto column = [&](const char *wanted) {
    return static_cast<size_t>(std::find(header.begin(), header.end(), wanted) -
                               header.begin());
  };
  size_t problem = column("problem"), batch = column("batch");
  size_t name = column("name");
  if (problem == header.size())
    return bad(1, "has no column 'problem'; valid: a CSV file whose first line "
                  "names the columns problem and batch");
  std::vector<ListedLayer> cases;
  for (size_t i = 1; i < records.size(); ++i) {
    auto &[line, fields] = records[i];
    // Spreadsheets pad lines with empty fields.
    while (fields.size() > header.size() && fields.back().empty())
      fields.pop_back();
    if (fields.size() > header.size())
      return bad(line, "has " + std::to_string(fields.size()) +
                           " fields, the header has " +
                           std::to_string(header.size()) +
                           "; valid: quote the problem, whose commas end "
                           "fields without: \"conv1d:in=8x4,oc=4,k=3\"");
    if (problem >= fields.size())
      return bad(line, "has no problem; valid: one in each line");
    int64_t images = 1;
    if (batch < fields.size() && !fields[batch].empty()) {
      const std::string &field = fields[batch];
      auto [end, error] =
          std::from_chars(field.data(), field.data() + field.size(), images);
      if (error != std::errc() || end != field.data() + field.size() ||
          images < 1 || images > maxBatch)
        return bad(line, "batch=" + field + ": valid: 1 to " +
                             std::to_string(maxBatch));
    }
    if (Expected<Layer> layer = readLayer(fields[problem]); !layer)
      return Error{layer.error().kind,
                   bad(line, layer.error().message).message};
    cases.push_back(
        {fields[problem], images, name < fields.size() ? fields[name] : ""});
  }
  return cases;
}
