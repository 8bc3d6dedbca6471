//===- ConvAttrs.cpp - text and checks of the conv dialect's attributes -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ConvDialect.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace convjit::conv;

/// `vector = N`, and `, mixed = true` and `, split = N` where they are not the
/// default, in that order: a comma alone does not say which of them comes.
/// The fields after the vector may be left out; their order is fixed.
static ParseResult parseGPUPlanEnd(AsmParser &parser, int64_t &vector,
                                   bool &mixed, int64_t &split,
                                   bool &packInput) {
  mixed = packInput = false;
  split = 1;
  if (parser.parseKeyword("vector") || parser.parseEqual() ||
      parser.parseInteger(vector))
    return failure();
  bool more = succeeded(parser.parseOptionalComma());
  auto isNext = [&](StringRef field) {
    return more && succeeded(parser.parseOptionalKeyword(field));
  };
  auto parseBool = [&](bool &value) -> ParseResult {
    if (parser.parseEqual())
      return failure();
    value = succeeded(parser.parseOptionalKeyword("true"));
    if (!value && parser.parseKeyword("false"))
      return failure();
    more = succeeded(parser.parseOptionalComma());
    return success();
  };
  if (isNext("mixed") && parseBool(mixed))
    return failure();
  if (isNext("split")) {
    if (parser.parseEqual() || parser.parseInteger(split))
      return failure();
    more = succeeded(parser.parseOptionalComma());
  }
  if (isNext("pack_input") && parseBool(packInput))
    return failure();
  if (more)
    return parser.emitError(parser.getCurrentLocation())
           << "valid: mixed, split and pack_input in this order";
  return success();
}

static void printGPUPlanEnd(AsmPrinter &printer, int64_t vector, bool mixed,
                            int64_t split, bool packInput) {
  printer << "vector = " << vector;
  if (mixed)
    printer << ", mixed = true";
  if (split != 1)
    printer << ", split = " << split;
  if (packInput)
    printer << ", pack_input = true";
}

#define GET_ATTRDEF_CLASSES
#include "ConvAttrs.cpp.inc"

void ConvDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "ConvAttrs.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// #conv.window
//===----------------------------------------------------------------------===//

LogicalResult
WindowAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                   ArrayRef<int64_t> strides, ArrayRef<int64_t> padLow,
                   ArrayRef<int64_t> padHigh, ArrayRef<int64_t> lhsDilation,
                   ArrayRef<int64_t> rhsDilation, ArrayRef<bool> reversal) {
  size_t rank = strides.size();
  auto checkSize = [&](StringRef label, StringRef field, size_t size) {
    if (size == rank)
      return success();
    return LogicalResult(emitError()
                         << label << ": " << field << " has " << size
                         << " entries; valid: one for each of the " << rank
                         << " spatial dimensions");
  };
  auto checkPositive = [&](StringRef label, StringRef field,
                           ArrayRef<int64_t> values) {
    for (auto [dim, value] : llvm::enumerate(values))
      if (value <= 0 || value > maxWindowField)
        return LogicalResult(emitError()
                             << label << ": " << field << "[" << dim << "] = "
                             << value << "; valid: at least 1, at most 2^31");
    return success();
  };
  for (ArrayRef<int64_t> pads : {padLow, padHigh})
    for (int64_t pad : pads)
      if (pad < -maxWindowField || pad > maxWindowField)
        return emitError() << "C4: pad = " << pad << "; valid: -2^31 to 2^31";
  if (failed(checkPositive("C3", "stride", strides)) ||
      failed(checkSize("C4", "pad", padLow.size())) ||
      failed(checkSize("C4", "pad", padHigh.size())) ||
      failed(checkSize("C5", "lhs_dilate", lhsDilation.size())) ||
      failed(checkPositive("C6", "lhs_dilate", lhsDilation)) ||
      failed(checkSize("C7", "rhs_dilate", rhsDilation.size())) ||
      failed(checkPositive("C8", "rhs_dilate", rhsDilation)) ||
      failed(checkSize("C9", "reverse", reversal.size())))
    return failure();
  return success();
}

int64_t WindowAttr::outputSize(int64_t dim, int64_t input,
                               int64_t kernel) const {
  int64_t dilated = input == 0 ? 0 : (input - 1) * getLhsDilation()[dim] + 1;
  int64_t padded = dilated + getPadLow()[dim] + getPadHigh()[dim];
  int64_t effective = (kernel - 1) * getRhsDilation()[dim] + 1;
  return padded < effective ? 0 : (padded - effective) / getStrides()[dim] + 1;
}

static ParseResult parseList(AsmParser &parser, SmallVectorImpl<int64_t> &out) {
  out.clear();
  return parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, [&] {
    return parser.parseInteger(out.emplace_back());
  });
}

Attribute WindowAttr::parse(AsmParser &parser, Type) {
  int64_t rank = 0;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseKeyword("rank") ||
      parser.parseEqual() || parser.parseInteger(rank))
    return {};
  if (rank < 0 || rank > 8) {
    parser.emitError(loc, "rank = ") << rank << "; valid: 0 to 8";
    return {};
  }
  SmallVector<int64_t> strides(rank, 1), lhs(rank, 1), rhs(rank, 1);
  SmallVector<int64_t> low(rank, 0), high(rank, 0);
  SmallVector<bool> reversal(rank, false);
  auto parsePairs = [&]() -> ParseResult {
    low.clear();
    high.clear();
    return parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, [&] {
      return failure(
          parser.parseLSquare() || parser.parseInteger(low.emplace_back()) ||
          parser.parseComma() || parser.parseInteger(high.emplace_back()) ||
          parser.parseRSquare());
    });
  };
  auto parseBools = [&]() -> ParseResult {
    reversal.clear();
    return parser.parseCommaSeparatedList(
        AsmParser::Delimiter::Square, [&]() -> ParseResult {
          StringRef word;
          if (parser.parseKeyword(&word))
            return failure();
          if (word != "true" && word != "false")
            return parser.emitError(parser.getCurrentLocation())
                   << "C9: reverse: '" << word << "'; valid: true, false";
          reversal.push_back(word == "true");
          return success();
        });
  };
  while (succeeded(parser.parseOptionalComma())) {
    StringRef field;
    SMLoc fieldLoc = parser.getCurrentLocation();
    if (parser.parseKeyword(&field) || parser.parseEqual())
      return {};
    ParseResult parsed = failure();
    if (field == "stride")
      parsed = parseList(parser, strides);
    else if (field == "pad")
      parsed = parsePairs();
    else if (field == "lhs_dilate")
      parsed = parseList(parser, lhs);
    else if (field == "rhs_dilate")
      parsed = parseList(parser, rhs);
    else if (field == "reverse")
      parsed = parseBools();
    else
      parser.emitError(fieldLoc, "unknown field '")
          << field << "'; valid: stride, pad, lhs_dilate, rhs_dilate, reverse";
    if (failed(parsed))
      return {};
  }
  if (parser.parseGreater())
    return {};
  if (static_cast<int64_t>(strides.size()) != rank) {
    parser.emitError(loc, "C2: stride has ")
        << strides.size() << " entries; valid: one for each of the " << rank
        << " spatial dimensions";
    return {};
  }
  return WindowAttr::getChecked([&] { return parser.emitError(loc); },
                                parser.getContext(), strides, low, high, lhs,
                                rhs, reversal);
}

void WindowAttr::print(AsmPrinter &printer) const {
  auto list = [&](StringRef field, ArrayRef<int64_t> values) {
    if (llvm::all_of(values, [](int64_t v) { return v == 1; }))
      return;
    printer << ", " << field << " = [";
    llvm::interleaveComma(values, printer);
    printer << "]";
  };
  printer << "<rank = " << getRank();
  list("stride", getStrides());
  auto isZero = [](int64_t v) { return v == 0; };
  if (!llvm::all_of(getPadLow(), isZero) ||
      !llvm::all_of(getPadHigh(), isZero)) {
    printer << ", pad = [";
    llvm::interleaveComma(llvm::zip(getPadLow(), getPadHigh()), printer,
                          [&](auto pair) {
                            printer << "[" << std::get<0>(pair) << ", "
                                    << std::get<1>(pair) << "]";
                          });
    printer << "]";
  }
  list("lhs_dilate", getLhsDilation());
  list("rhs_dilate", getRhsDilation());
  if (llvm::is_contained(getReversal(), true)) {
    printer << ", reverse = [";
    llvm::interleaveComma(getReversal(), printer, [&](bool reversed) {
      printer << (reversed ? "true" : "false");
    });
    printer << "]";
  }
  printer << ">";
}

//===----------------------------------------------------------------------===//
// #conv.dims
//===----------------------------------------------------------------------===//

/// One tensor's axes: `[b, 0, 1, f]`. Checks that each letter and each digit
/// stands there once (`label` is StableHLO's constraint on it).
static ParseResult parseAxes(AsmParser &parser, StringRef label, char first,
                             char second, int64_t &firstAxis,
                             int64_t &secondAxis,
                             SmallVectorImpl<int64_t> &spatial) {
  firstAxis = secondAxis = -1;
  SmallVector<std::pair<int64_t, int64_t>> digits;
  int64_t axis = 0;
  SMLoc loc = parser.getCurrentLocation();
  auto parseOne = [&]() -> ParseResult {
    int64_t digit;
    OptionalParseResult isDigit = parser.parseOptionalInteger(digit);
    if (isDigit.has_value()) {
      if (failed(*isDigit))
        return failure();
      digits.push_back({digit, axis++});
      return success();
    }
    StringRef word;
    SMLoc wordLoc = parser.getCurrentLocation();
    if (parser.parseKeyword(&word))
      return failure();
    int64_t *slot = word == StringRef(&first, 1)    ? &firstAxis
                    : word == StringRef(&second, 1) ? &secondAxis
                                                    : nullptr;
    if (!slot || *slot != -1)
      return parser.emitError(wordLoc)
             << label << ": axis '" << word << "'; valid: " << Twine(first)
             << " and " << Twine(second) << " once each, and digits";
    *slot = axis++;
    return success();
  };
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseOne))
    return failure();
  llvm::sort(digits);
  spatial.clear();
  bool complete = firstAxis >= 0 && secondAxis >= 0;
  for (auto [index, digit] : llvm::enumerate(digits)) {
    complete &= digit.first == static_cast<int64_t>(index);
    spatial.push_back(digit.second);
  }
  if (!complete)
    return parser.emitError(loc)
           << label
           << ": axes are not unique and complete; valid: " << Twine(first)
           << ", " << Twine(second) << " and the digits 0 to rank-1, once each";
  return success();
}

Attribute DimensionNumbersAttr::parse(AsmParser &parser, Type) {
  int64_t inB, inF, kerI, kerO, outB, outF;
  SmallVector<int64_t> inS, kerS, outS;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() || parseAxes(parser, "C13", 'b', 'f', inB, inF, inS) ||
      parser.parseKeyword("x") ||
      parseAxes(parser, "C18", 'i', 'o', kerI, kerO, kerS) ||
      parser.parseArrow() ||
      parseAxes(parser, "C20", 'b', 'f', outB, outF, outS) ||
      parser.parseGreater())
    return {};
  if (inS.size() != kerS.size() || inS.size() != outS.size()) {
    parser.emitError(loc, inS.size() != kerS.size() ? "C17" : "C19")
        << ": input, kernel and output name " << inS.size() << ", "
        << kerS.size() << " and " << outS.size()
        << " spatial dimensions; valid: the same number";
    return {};
  }
  return get(parser.getContext(), inB, inF, inS, kerI, kerO, kerS, outB, outF,
             outS);
}

void DimensionNumbersAttr::print(AsmPrinter &printer) const {
  auto axes = [&](char first, char second, int64_t firstAxis,
                  int64_t secondAxis, ArrayRef<int64_t> spatial) {
    printer << "[";
    for (int64_t axis = 0, end = spatial.size() + 2; axis < end; ++axis) {
      if (axis)
        printer << ", ";
      if (axis == firstAxis)
        printer << first;
      else if (axis == secondAxis)
        printer << second;
      else
        printer << (llvm::find(spatial, axis) - spatial.begin());
    }
    printer << "]";
  };
  printer << "<";
  axes('b', 'f', getInputBatch(), getInputFeature(), getInputSpatial());
  printer << "x";
  axes('i', 'o', getKernelInputFeature(), getKernelOutputFeature(),
       getKernelSpatial());
  printer << "->";
  axes('b', 'f', getOutputBatch(), getOutputFeature(), getOutputSpatial());
  printer << ">";
}

//===----------------------------------------------------------------------===//
// #conv.epilogue and #conv.plan
//===----------------------------------------------------------------------===//

Attribute EpilogueAttr::parse(AsmParser &parser, Type) {
  StringRef word;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseKeyword(&word))
    return {};
  std::optional<Activation> activation = symbolizeActivation(word);
  if (!activation) {
    parser.emitError(loc, "activation '")
        << word
        << "'; valid: none, relu, leaky_relu, sigmoid, tanh, silu, gelu, "
           "gelu_tanh";
    return {};
  }
  double slope = 0.01;
  if (succeeded(parser.parseOptionalComma()) && parser.parseFloat(slope))
    return {};
  if (parser.parseGreater())
    return {};
  return get(parser.getContext(), *activation, APFloat(slope));
}

void EpilogueAttr::print(AsmPrinter &printer) const {
  printer << "<" << stringifyActivation(getActivation());
  if (getActivation() == Activation::LeakyRelu) {
    printer << ", ";
    printer.printFloat(getSlope());
  }
  printer << ">";
}

LogicalResult PlanAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                               Lanes, int64_t width, int64_t pixels,
                               int64_t unroll, RowForm, int64_t chunks,
                               int64_t merged, Order, int64_t fold, Prefetch,
                               int64_t strip, int64_t streamFrom) {
  auto check = [&](StringRef field, int64_t value, int64_t low, int64_t high) {
    if (value >= low && value <= high)
      return success();
    return LogicalResult(emitError() << field << " = " << value
                                     << "; valid: " << low << " to " << high);
  };
  if (failed(check("width", width, 1, 256)) ||
      failed(check("pixels", pixels, 1, 64)) ||
      failed(check("unroll", unroll, 1, 64)) ||
      failed(check("chunks", chunks, 1, 1 << 20)) ||
      failed(check("merged", merged, 0, 3)) ||
      failed(check("fold", fold, 1, 16)) ||
      failed(check("strip", strip, 0, 1 << 20)) ||
      failed(check("stream_from", streamFrom, 0, maxStreamingBytes)))
    return failure();
  return success();
}

int64_t GPUPlanAttr::getPixels() const {
  int64_t pixels = 1;
  for (int64_t size : getBox())
    pixels *= size;
  return pixels;
}

LogicalResult GPUPlanAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                  GPUSchedule, ArrayRef<int64_t> box,
                                  int64_t channels, int64_t depth,
                                  int64_t threadPixels, int64_t threadChannels,
                                  int64_t stages, int64_t vector, bool,
                                  int64_t split, bool) {
  auto check = [&](StringRef field, int64_t value, int64_t low, int64_t high) {
    if (value >= low && value <= high)
      return success();
    return LogicalResult(emitError() << field << " = " << value
                                     << "; valid: " << low << " to " << high);
  };
  int64_t pixels = 1;
  for (int64_t size : box) {
    if (failed(check("box", size, 1, 1024)))
      return failure();
    pixels *= size;
  }
  if (box.size() < 2 || box.size() > 4)
    return emitError() << "box has " << box.size()
                       << " entries; valid: images and each spatial dimension";
  if (failed(check("pixels of the box", pixels, 1, 1024)) ||
      failed(check("channels", channels, 1, 1024)) ||
      failed(check("depth", depth, 1, 256)) ||
      failed(check("thread_pixels", threadPixels, 1, 16)) ||
      failed(check("thread_channels", threadChannels, 1, 16)) ||
      failed(check("stages", stages, 1, 8)) ||
      failed(check("vector", vector, 1, 8)) ||
      failed(check("split", split, 1, 256)))
    return failure();
  if (pixels % threadPixels)
    return emitError() << "thread_pixels = " << threadPixels
                       << "; valid: a divisor of the box's pixels, " << pixels;
  if (channels % threadChannels)
    return emitError() << "thread_channels = " << threadChannels
                       << "; valid: a divisor of channels, " << channels;
  return check("threads of the block",
               pixels / threadPixels * (channels / threadChannels), 1, 1024);
}

std::pair<int64_t, int64_t> PhaseSplitAttr::laneTapRange(int64_t phase) const {
  int64_t first = getLaneFirstTap()[phase];
  int64_t lo = first < 0 ? llvm::divideCeil(-first, getLaneTapStep()) : 0;
  return {lo, lo + getLaneTaps()[phase]};
}
