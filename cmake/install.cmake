# What `cmake --install` puts in the prefix: header, libraries, command, and how others find them (pkg-config, CMake).
include(CMakePackageConfigHelpers)
set(UDUMP_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/unetdump)
set(UDUMP_PKG_CONFIG_DIR ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(FILES include/unetdump.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES src/text/data/LICENSE-CLIP DESTINATION ${CMAKE_INSTALL_DOCDIR}) # the merges are in the libraries
if(TARGET unetdump_cli)
  install(TARGETS unetdump_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

# The static library has a file of its own: only who wants it must have its dependencies.
install(TARGETS unetdump_static udump_dependencies EXPORT unetdump_static_targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT unetdump_static_targets FILE unetdump-static.cmake NAMESPACE unetdump:: DESTINATION ${UDUMP_CMAKE_DIR})
if(TARGET unetdump)
  install(TARGETS unetdump EXPORT unetdump_shared_targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT unetdump_shared_targets FILE unetdump-shared.cmake NAMESPACE unetdump:: DESTINATION ${UDUMP_CMAKE_DIR})
endif()

configure_package_config_file(cmake/unetdump-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/unetdump-config.cmake
    INSTALL_DESTINATION ${UDUMP_CMAKE_DIR} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/unetdump-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/unetdump-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/unetdump-config-version.cmake
    DESTINATION ${UDUMP_CMAKE_DIR})

# Paths relative to the .pc file, so that `cmake --install --prefix` may choose another prefix.
file(RELATIVE_PATH UDUMP_PREFIX_FROM_PC /prefix/${UDUMP_PKG_CONFIG_DIR} /prefix)
string(REGEX REPLACE "/$" "" UDUMP_PREFIX_FROM_PC ${UDUMP_PREFIX_FROM_PC})
list(JOIN UDUMP_PKG_CONFIG_MODULES " " UDUMP_PC_REQUIRES)
list(TRANSFORM UDUMP_INSTALLED_LIBRARIES PREPEND -l OUTPUT_VARIABLE UDUMP_PC_LIBRARIES)
list(JOIN UDUMP_PC_LIBRARIES " " UDUMP_PC_LIBRARIES)
configure_file(cmake/unetdump.pc.in ${CMAKE_CURRENT_BINARY_DIR}/unetdump.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/unetdump.pc DESTINATION ${UDUMP_PKG_CONFIG_DIR})
