//===- LibraryBuilder.cpp - objects and archives of kernels -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// One object for each kernel, whose one symbol is its descriptor; one for each
// layer, which picks among its kernels; one that asks the machine what it has;
// and one that finds layers by their texts. A linker takes what is used.
//
//===----------------------------------------------------------------------===//

#include "LibraryBuilder.h"
#include "CodeGen.h"
#include "Dispatch.h"
#include "convjit/convjit_aot.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/IR/Constants.h"
#include "llvm/Object/ArchiveWriter.h"
#include "llvm/Object/ObjectFile.h"
#include "llvm/Support/SHA256.h"
#include "llvm/Support/SourceMgr.h"

#include <algorithm>
#include <set>

using namespace convjit;

static bool isIdentifier(const std::string &text, bool whole) {
  return !text.empty() && !(whole && llvm::isDigit(text.front())) &&
         llvm::all_of(text,
                      [](char c) { return llvm::isAlnum(c) || c == '_'; });
}

Status convjit::checkLibraryNames(const std::string &prefix,
                                  const std::vector<LibraryLayer> &layers) {
  if (!isIdentifier(prefix, /*whole=*/true))
    return badInput("prefix=" + prefix +
                    ": is no C identifier; valid: a letter or underscore, "
                    "then letters, digits and underscores");
  std::set<std::string> names, problems;
  for (const LibraryLayer &layer : layers) {
    if (!isIdentifier(layer.name, /*whole=*/false))
      return badInput("name=" + layer.name +
                      ": cannot be part of a C identifier; valid: letters, "
                      "digits and underscores");
    if (!problems.insert(layer.problem).second)
      return badInput("problem " + layer.problem +
                      ": is there twice; valid: each layer once");
    if (!names.insert(layer.name).second)
      return badInput("name=" + layer.name +
                      ": two layers have it (the second is " + layer.problem +
                      "); valid: a name for each");
  }
  return {};
}

static_assert(sizeof(convjit_aot_kernel) == 80,
              "describeKernel writes the descriptor field by field");

namespace {

std::string symbolOf(std::string cpu) {
  for (char &c : cpu)
    if (!llvm::isAlnum(c))
      c = '_';
  return cpu;
}

std::string sha256(llvm::StringRef bytes) {
  return llvm::toHex(llvm::SHA256::hash(llvm::arrayRefFromStringRef(bytes)),
                     /*LowerCase=*/true);
}

/// Bytes of code and constants of an object, and the functions that it wants.
Status readObject(const std::string &object, LibraryKernel &kernel) {
  auto file = llvm::object::ObjectFile::createObjectFile(
      llvm::MemoryBufferRef(object, "kernel"));
  if (!file)
    return internalError("object: " + llvm::toString(file.takeError()));
  for (const llvm::object::SectionRef &section : (*file)->sections())
    if (section.isText() || section.isData())
      kernel.codeBytes += section.getSize();
  std::set<std::string> calls;
  for (const llvm::object::SymbolRef &symbol : (*file)->symbols()) {
    auto flags = symbol.getFlags();
    auto name = symbol.getName();
    if (!flags || !name) {
      if (!flags)
        llvm::consumeError(flags.takeError());
      if (!name)
        llvm::consumeError(name.takeError());
      continue;
    }
    if ((*flags & llvm::object::SymbolRef::SF_Undefined) && !name->empty())
      calls.insert(name->str());
  }
  kernel.calls.assign(calls.begin(), calls.end());
  return {};
}

/// A module's definitions become its own, and the descriptor its only symbol.
Status describeKernel(LoweredKernel &kernel, const LibraryLayer &layer,
                      const TargetInfo &target, const std::string &symbol,
                      const std::string &run, const std::string &pack) {
  llvm::Module &module = *kernel.unit->module;
  llvm::LLVMContext &context = module.getContext();
  llvm::Function *runs = module.getFunction(run);
  llvm::Function *packs = module.getFunction(pack);
  if (!runs || !packs)
    return internalError("the module has no function " + (runs ? pack : run));
  for (llvm::GlobalObject &object : module.global_objects())
    if (!object.isDeclaration())
      object.setLinkage(llvm::GlobalValue::InternalLinkage);
  runs->setName(symbol + "_run");
  packs->setName(symbol + "_pack");
  auto *i64 = llvm::Type::getInt64Ty(context);
  auto *pointer = llvm::PointerType::get(context, 0);
  auto number = [&](uint64_t value) -> llvm::Constant * {
    return llvm::ConstantInt::get(i64, value);
  };
  auto text = [&](const std::string &value) -> llvm::Constant * {
    llvm::Constant *bytes = llvm::ConstantDataArray::getString(context, value);
    auto *global = new llvm::GlobalVariable(
        module, bytes->getType(), /*isConstant=*/true,
        llvm::GlobalValue::PrivateLinkage, bytes, "text");
    global->setUnnamedAddr(llvm::GlobalValue::UnnamedAddr::Global);
    return global;
  };
  auto *type =
      llvm::StructType::get(context, {i64, pointer, pointer, pointer, i64, i64,
                                      i64, i64, pointer, pointer});
  llvm::Constant *value = llvm::ConstantStruct::get(
      type,
      {number(sizeof(convjit_aot_kernel)), text(layer.problem),
       text(target.triple + ": " + target.cpu), text(kernel.plan),
       number(kernel.packedWeightBytes), number(kernel.scratchBytes),
       number(static_cast<uint64_t>(kernel.tasksPerImage)),
       number(static_cast<uint64_t>(layer.conv.batchGroups)), packs, runs});
  new llvm::GlobalVariable(module, type, /*isConstant=*/true,
                           llvm::GlobalValue::ExternalLinkage, value, symbol);
  return {};
}

class Builder {
public:
  Builder(const std::vector<LibraryLayer> &layers,
          const LibraryOptions &options, const std::string &run,
          const std::string &pack, KernelCompiler compile)
      : options(options), run(run), pack(pack), compile(compile) {
    library.prefix = options.prefix;
    library.layers = layers;
  }

  Expected<Library> build() {
    for (Status (Builder::*step)() :
         {&Builder::checkNames, &Builder::resolveTargets,
          &Builder::compileKernels, &Builder::makeDispatch,
          &Builder::makeArchive})
      if (Status s = (this->*step)(); !s)
        return s.takeError();
    return std::move(library);
  }

private:
  Status checkNames() {
    return checkLibraryNames(library.prefix, library.layers);
  }

  /// The best first: longer vectors, then more features, then as given.
  Status resolveTargets() {
    std::vector<Target> wanted = options.targets;
    if (wanted.empty())
      wanted.emplace_back();
    constexpr size_t most = 60; // a bit each in Dispatch's mask
    if (wanted.size() > most)
      return badInput("target-cpu: names " + std::to_string(wanted.size()) +
                      " CPUs; valid: up to " + std::to_string(most));
    std::set<std::string> symbols;
    for (Target &target : wanted) {
      Expected<TargetInfo> info = resolveTarget(target);
      if (!info)
        return info.takeError();
      if (!symbols.insert(symbolOf(info->cpu)).second)
        return badInput("target-cpu=" + info->cpu +
                        ": is there twice; valid: each CPU once");
      if (!targets.empty() && llvm::Triple(targets[0].info.triple).getArch() !=
                                  llvm::Triple(info->triple).getArch())
        return badInput("target-cpu=" + info->cpu +
                        ": is of another "
                        "architecture than " +
                        targets[0].info.cpu +
                        "; valid: an archive for each architecture");
      Expected<Requirements> needs = requirementsOf(*info);
      if (!needs)
        return needs.takeError();
      targets.push_back(
          {targets.size(), target, std::move(*info), std::move(*needs)});
    }
    llvm::sort(targets, [](const Resolved &a, const Resolved &b) {
      if (a.info.machine.vectorBits != b.info.machine.vectorBits)
        return a.info.machine.vectorBits > b.info.machine.vectorBits;
      if (a.needs.features.size() != b.needs.features.size())
        return a.needs.features.size() > b.needs.features.size();
      return a.order < b.order;
    });
    for (const Resolved &target : targets)
      library.targets.push_back({target.info.triple, target.info.cpu,
                                 symbolOf(target.info.cpu),
                                 target.needs.features, target.needs.sveBits});
    return {};
  }

  void addObject(std::string name, std::string bytes) {
    std::string sum = sha256(bytes);
    library.objects.push_back(
        {std::move(name), std::move(bytes), std::move(sum)});
  }

  Status compileKernels() {
    for (size_t l = 0; l < library.layers.size(); ++l)
      for (size_t t = 0; t < targets.size(); ++t) {
        const LibraryLayer &layer = library.layers[l];
        CompileOptions compileOptions;
        compileOptions.target = targets[t].asked;
        compileOptions.plan = options.plan;
        compileOptions.images = layer.images;
        Expected<LoweredKernel> kernel = compile(layer.conv, compileOptions);
        if (!kernel)
          return Error{kernel.error().kind,
                       layer.problem + ": " + kernel.error().message};
        LibraryKernel entry;
        entry.layer = l;
        entry.target = t;
        entry.symbol = fullName(layer) + "_" + library.targets[t].symbol;
        if (Status s = describeKernel(*kernel, layer, targets[t].info,
                                      entry.symbol, run, pack);
            !s)
          return s;
        Expected<std::string> bytes =
            generateCode(*kernel->unit->module, *kernel->unit->machine,
                         /*assembly=*/false);
        if (!bytes)
          return bytes.takeError();
        if (Status s = readObject(*bytes, entry); !s)
          return s;
        entry.plan = kernel->plan;
        entry.tasksPerImage = kernel->tasksPerImage;
        entry.packedWeightBytes = kernel->packedWeightBytes;
        entry.scratchBytes = kernel->scratchBytes;
        entry.object = entry.symbol + ".o";
        addObject(entry.object, std::move(*bytes));
        library.kernels.push_back(std::move(entry));
      }
    return {};
  }

  std::string fullName(const LibraryLayer &layer) const {
    return library.prefix + "_" + layer.name;
  }

  /// An object of LLVM IR, for any CPU of the architecture.
  Status addIR(const std::string &name, const std::string &ir,
               const LibraryLayer *layer = nullptr) {
    TargetInfo base;
    base.triple = targets[0].info.triple;
    base.cpu = isX86() ? "x86-64" : "generic";
    auto machine = createTargetMachine(base);
    if (!machine)
      return machine.takeError();
    llvm::LLVMContext context;
    llvm::SMDiagnostic diagnostic;
    auto module = llvm::parseAssemblyString(ir, diagnostic, context);
    if (!module)
      return internalError("IR of " + name + ", line " +
                           std::to_string(diagnostic.getLineNo()) + ": " +
                           diagnostic.getMessage().str());
    module->setTargetTriple((*machine)->getTargetTriple());
    module->setDataLayout((*machine)->createDataLayout());
    module->setPICLevel(llvm::PICLevel::BigPIC);
    if (layer && !layer->mask.empty())
      new llvm::GlobalVariable(
          *module,
          llvm::ArrayType::get(llvm::Type::getDoubleTy(context),
                               layer->mask.size()),
          /*isConstant=*/true, llvm::GlobalValue::ExternalLinkage,
          llvm::ConstantDataArray::get(context,
                                       llvm::ArrayRef<double>(layer->mask)),
          fullName(*layer) + "_mask");
    Expected<std::string> bytes =
        generateCode(*module, **machine, /*assembly=*/false);
    if (!bytes)
      return bytes.takeError();
    addObject(name, std::move(*bytes));
    return {};
  }

  bool isX86() const { return llvm::Triple(targets[0].info.triple).isX86(); }

  Status makeDispatch() {
    std::vector<Requirements> needs;
    std::vector<std::string> cpus, names, problems;
    for (const Resolved &target : targets) {
      needs.push_back(target.needs);
      cpus.push_back(target.info.cpu);
    }
    for (const LibraryLayer &layer : library.layers) {
      std::vector<std::string> symbols;
      for (const LibraryTarget &target : library.targets)
        symbols.push_back(fullName(layer) + "_" + target.symbol);
      names.push_back(layer.name);
      problems.push_back(layer.problem);
      if (Status s =
              addIR(fullName(layer) + ".o",
                    pickIR(library.prefix, layer.name, symbols, cpus), &layer);
          !s)
        return s;
    }
    // A layer's name comes after one underscore, so these are no layer's.
    if (Status s = addIR(library.prefix + ".cpu.o",
                         runnableIR(library.prefix, isX86(), needs));
        !s)
      return s;
    return addIR(library.prefix + ".index.o",
                 findIR(library.prefix, names, problems));
  }

  Status makeArchive() {
    auto less = [](const LibraryObject &a, const LibraryObject &b) {
      return a.name < b.name;
    };
    llvm::sort(library.objects, less);
    for (size_t i = 1; i < library.objects.size(); ++i)
      if (library.objects[i - 1].name == library.objects[i].name)
        return badInput("name: the symbol " + library.objects[i].name +
                        " would be there twice; valid: names that do not end "
                        "in another name's CPU");
    std::vector<llvm::NewArchiveMember> members;
    for (const LibraryObject &object : library.objects)
      members.emplace_back(llvm::MemoryBufferRef(object.bytes, object.name));
    auto buffer = llvm::writeArchiveToBuffer(
        members, llvm::SymtabWritingMode::NormalSymtab,
        llvm::object::Archive::K_GNU, /*Deterministic=*/true, /*Thin=*/false,
        [](llvm::Error error) { llvm::consumeError(std::move(error)); });
    if (!buffer)
      return internalError("archive: " + llvm::toString(buffer.takeError()));
    library.archive = (*buffer)->getBuffer().str();
    library.archiveSha256 = sha256(library.archive);
    return {};
  }

  struct Resolved {
    size_t order;
    Target asked;
    TargetInfo info;
    Requirements needs;
  };
  const LibraryOptions &options;
  const std::string &run, &pack;
  KernelCompiler compile;
  std::vector<Resolved> targets;
  Library library;
};

} // namespace

Expected<Library> convjit::buildLibrary(const std::vector<LibraryLayer> &layers,
                                        const LibraryOptions &options,
                                        const std::string &run,
                                        const std::string &pack,
                                        KernelCompiler compile) {
  return Builder(layers, options, run, pack, compile).build();
}
