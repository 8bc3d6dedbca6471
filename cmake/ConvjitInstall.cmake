# What `cmake --install` puts into a prefix: the libraries of the C interface with
# their headers, the command line, a CMake package and files for pkg-config.
# The layer classes come as an archive, with the runtime's classes inside.
#   install components: runtime, compiler, tools, development
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/convjit)

# Installs a library as convjit::NAME, with its file for pkg-config.
function(convjit_install_library target name pc description)
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  install(TARGETS ${target} EXPORT convjit-${name}
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
      COMPONENT ${name} NAMELINK_COMPONENT development)
  install(EXPORT convjit-${name} NAMESPACE convjit:: DESTINATION ${package_dir}
    COMPONENT development)
  get_target_property(library ${target} OUTPUT_NAME)
  set(more ${ARGN})
  # Wherever --prefix puts it.
  file(RELATIVE_PATH to_prefix /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/convjit.pc.in
    ${PROJECT_BINARY_DIR}/${pc}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${pc}.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
endfunction()

convjit_install_library(convjit_runtime_c runtime convjit-runtime
  "Runs convolution kernels that were compiled ahead of time")
if(CONVJIT_ENABLE_COMPILER)
  convjit_install_library(convjit_c compiler convjit
    "Compiles convolution kernels at run time, and runs them")
  # It has the compiler inside, as the library has.
  install(TARGETS convjit RUNTIME COMPONENT tools)
endif()

if(CONVJIT_ENABLE_LAYERS)
  find_package(Threads REQUIRED)
  add_library(convjit_layers_package STATIC
    $<TARGET_OBJECTS:convjit_layers> $<TARGET_OBJECTS:convjit_runtime>)
  set_target_properties(convjit_layers_package PROPERTIES
    LINKER_LANGUAGE CXX
    OUTPUT_NAME convjit_layers
    # Beside the build's own archive of this name.
    ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/package)
  target_compile_features(convjit_layers_package INTERFACE cxx_std_20)
  target_include_directories(convjit_layers_package INTERFACE
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(convjit_layers_package INTERFACE zip Threads::Threads)
  convjit_install_library(convjit_layers_package layers convjit-layers
    "Convolution layers with weights and gradients" "-lzip -pthread")
  install(DIRECTORY runtime/include/convjit layers/include/convjit
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
endif()

install(FILES
    capi/include/convjit/convjit.h
    capi/include/convjit/convjit.hpp
    runtime/include/convjit/convjit_aot.h
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/convjit COMPONENT development)
configure_package_config_file(cmake/convjitConfig.cmake.in
  ${PROJECT_BINARY_DIR}/convjitConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/convjitConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES
    ${PROJECT_BINARY_DIR}/convjitConfig.cmake
    ${PROJECT_BINARY_DIR}/convjitConfigVersion.cmake
    cmake/ConvjitKernels.cmake
  DESTINATION ${package_dir} COMPONENT development)
install(FILES LICENSE
  DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/convjit COMPONENT development)
