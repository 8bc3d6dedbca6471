# convjit_add_kernels: kernels compiled while a project is built.
#
#   convjit_add_kernels(TARGET
#     [PROBLEMS problem...] [NAMES name...]
#     [FILE layers.csv]
#     [TARGET_CPUS cpu...]
#     [TARGET_FEATURES features]
#     [PREFIX prefix])
#
# Runs `convjit emit` at build time and adds the library TARGET. Programs that
# link it include <PREFIX.h>, where each problem has its kernels and a function
# that picks the best one for the machine; they need the C library alone.
#
#   PROBLEMS     problem strings. Paths of masks are relative to the source folder
#   NAMES        a name in C for each problem; one is made of its text without
#   FILE         a CSV file with a column `problem`, perhaps one `name`
#   TARGET_CPUS  LLVM's names of CPUs of one architecture; `native`, the default,
#                is the machine that builds
#   PREFIX       begins the symbols and files; TARGET, as a C identifier, without
#
# The compiler is the target `convjit` of the same build, or `convjit::convjit`,
# or the program CONVJIT_EXECUTABLE, or one beside this file's installation.
#
# Properties of TARGET: CONVJIT_ARCHIVE and CONVJIT_MANIFEST, paths of files that
# are there once TARGET is built.

include_guard(GLOBAL)

set(_convjit_kernels_folder "${CMAKE_CURRENT_LIST_DIR}")

# The command and what to depend on; sets `command` and `depends` in the caller.
function(_convjit_find_compiler)
  foreach(target convjit convjit::convjit)
    if(TARGET ${target})
      get_target_property(type ${target} TYPE)
      if(type STREQUAL "EXECUTABLE")
        set(command $<TARGET_FILE:${target}> PARENT_SCOPE)
        set(depends ${target} PARENT_SCOPE)
        return()
      endif()
    endif()
  endforeach()
  # PREFIX/lib/cmake/convjit, or lib/ARCHITECTURE/cmake/convjit.
  find_program(CONVJIT_EXECUTABLE convjit
    HINTS "${_convjit_kernels_folder}/../../../bin"
          "${_convjit_kernels_folder}/../../../../bin"
    DOC "The compiler of convolution kernels")
  if(NOT CONVJIT_EXECUTABLE)
    message(FATAL_ERROR "convjit_add_kernels: there is no program convjit; set "
      "CONVJIT_EXECUTABLE to its path")
  endif()
  set(command ${CONVJIT_EXECUTABLE} PARENT_SCOPE)
  set(depends ${CONVJIT_EXECUTABLE} PARENT_SCOPE)
endfunction()

# Files of masks that problems name; sets `masks` in the caller.
function(_convjit_masks_of)
  set(masks)
  foreach(text IN LISTS ARGN)
    if(text MATCHES "[,:]mask=([^,\"]+)")
      set(path "${CMAKE_MATCH_1}")
      get_filename_component(path "${path}" ABSOLUTE
        BASE_DIR "${CMAKE_CURRENT_SOURCE_DIR}")
      # Not a file: a mask by name, such as random@1.
      if(EXISTS "${path}")
        list(APPEND masks "${path}")
      endif()
    endif()
  endforeach()
  set(masks "${masks}" PARENT_SCOPE)
endfunction()

function(convjit_add_kernels target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "FILE;PREFIX;TARGET_FEATURES"
    "PROBLEMS;NAMES;TARGET_CPUS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "convjit_add_kernels(${target}): "
      "'${arg_UNPARSED_ARGUMENTS}'; valid: PROBLEMS, NAMES, FILE, TARGET_CPUS, "
      "TARGET_FEATURES, PREFIX")
  endif()
  if(NOT arg_PROBLEMS AND NOT arg_FILE)
    message(FATAL_ERROR "convjit_add_kernels(${target}): has no layers; valid: "
      "PROBLEMS or FILE")
  endif()
  if(arg_PREFIX)
    set(prefix "${arg_PREFIX}")
  else()
    string(MAKE_C_IDENTIFIER "${target}" prefix)
  endif()

  _convjit_find_compiler()
  set(arguments emit --emit=archive,header --prefix=${prefix})
  foreach(name IN LISTS arg_NAMES)
    list(APPEND arguments --name=${name})
  endforeach()
  if(arg_TARGET_CPUS)
    list(JOIN arg_TARGET_CPUS "," cpus)
    list(APPEND arguments --target-cpu=${cpus})
  endif()
  if(arg_TARGET_FEATURES)
    list(APPEND arguments --target-features=${arg_TARGET_FEATURES})
  endif()
  _convjit_masks_of(${arg_PROBLEMS})
  list(APPEND depends ${masks})
  if(arg_FILE)
    get_filename_component(file "${arg_FILE}" ABSOLUTE
      BASE_DIR "${CMAKE_CURRENT_SOURCE_DIR}")
    list(APPEND arguments --file=${file})
    list(APPEND depends "${file}")
    # Which masks the list names is seen again when it changes.
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")
    file(STRINGS "${file}" lines)
    _convjit_masks_of(${lines})
    list(APPEND depends ${masks})
  endif()

  set(folder "${CMAKE_CURRENT_BINARY_DIR}/${target}")
  set(archive "${folder}/lib${prefix}.a")
  set(header "${folder}/${prefix}.h")
  set(manifest "${folder}/${prefix}.json")
  add_custom_command(
    OUTPUT "${archive}" "${header}" "${manifest}"
    COMMAND ${command} ${arguments} -o "${folder}" ${arg_PROBLEMS}
    DEPENDS ${depends}
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
    COMMENT "Compiling the convolution kernels ${target}"
    VERBATIM)
  add_custom_target(${target}-files DEPENDS "${archive}" "${header}" "${manifest}")

  # Known to the linker as a library, so that programs link again when it
  # changes.
  add_library(${target}-archive STATIC IMPORTED GLOBAL)
  set_target_properties(${target}-archive PROPERTIES
    IMPORTED_LOCATION "${archive}")
  add_dependencies(${target}-archive ${target}-files)
  add_library(${target} INTERFACE)
  add_dependencies(${target} ${target}-files)
  target_include_directories(${target} INTERFACE "${folder}")
  # Only kernels of double precision with some activations call the C library's
  # mathematics. Programs without any should not need it.
  target_link_libraries(${target} INTERFACE ${target}-archive
    -Wl,--push-state,--as-needed,-lm,--pop-state)
  set_target_properties(${target} PROPERTIES
    CONVJIT_ARCHIVE "${archive}" CONVJIT_MANIFEST "${manifest}")
endfunction()
