# Finds LLVM and MLIR 22 and makes their archives linkable statically.
#
# Distributions build MLIR's archives against the LLVM *shared* library and say
# so in the exported targets. Linking those beside LLVM's static components
# would put two LLVMs in one process, which aborts when both register the same
# option. So every mention of the shared library is taken out here, and users
# name the components they need through convjit_link_llvm.

find_package(MLIR QUIET CONFIG
  HINTS ${MLIR_DIR} /usr/lib/llvm-22/lib/cmake/mlir)
if(NOT MLIR_FOUND)
  message(FATAL_ERROR
    "LLVM 22 with MLIR: not found. scripts/setup installs it on Debian; otherwise "
    "set MLIR_DIR (now '${MLIR_DIR}') and LLVM_DIR to the folders of "
    "MLIRConfig.cmake and LLVMConfig.cmake.")
endif()
if(NOT LLVM_VERSION_MAJOR EQUAL 22)
  message(FATAL_ERROR "MLIR_DIR=${MLIR_DIR}: LLVM ${LLVM_VERSION}; valid: 22")
endif()
list(APPEND CMAKE_MODULE_PATH ${LLVM_CMAKE_DIR} ${MLIR_CMAKE_DIR})
include(TableGen)
include(AddLLVM)
include(AddMLIR)

foreach(lib IN LISTS MLIR_EXPORTED_TARGETS MLIR_ALL_LIBS)
  if(TARGET ${lib})
    get_target_property(deps ${lib} INTERFACE_LINK_LIBRARIES)
    if(deps)
      string(REGEX REPLACE "(^|;)(\\$<LINK_ONLY:LLVM>|LLVM)(;|$)" ";" deps "${deps}")
      set_target_properties(${lib} PROPERTIES INTERFACE_LINK_LIBRARIES "${deps}")
    endif()
  endif()
endforeach()

# Headers of LLVM and MLIR for whatever is built from here on, without warnings
# from them. LLVM is built without RTTI and without exceptions.
include_directories(SYSTEM ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})

# Options for a target that compiles against LLVM: no RTTI, as LLVM itself.
function(convjit_llvm_options target)
  target_compile_options(${target} PRIVATE -fno-rtti)
endfunction()

# Links LLVM's static components into `target`, or into what links it.
function(convjit_link_llvm target)
  llvm_map_components_to_libnames(libs ${ARGN})
  target_link_libraries(${target} PRIVATE ${libs})
  target_link_options(${target} PUBLIC -fuse-ld=lld -Wl,--gc-sections)
endfunction()
