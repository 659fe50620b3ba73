# What `cmake --install` puts in the prefix: header, libraries, command and its manual page, and how others find them (pkg-config, CMake).
# The components are the Debian packages: see packages.cmake.
include(CMakePackageConfigHelpers)
set(UDUMP_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/unetdump)
set(UDUMP_PKG_CONFIG_DIR ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(FILES include/unetdump.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
install(FILES src/text/data/LICENSE-CLIP DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT licences) # the merges are in the libraries
if(TARGET unetdump_cli)
  install(TARGETS unetdump_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT command)
  set(MAN_PAGE ${CMAKE_CURRENT_BINARY_DIR}/unetdump.1.gz)
  add_custom_command(OUTPUT ${MAN_PAGE}
      COMMAND sh ${PROJECT_SOURCE_DIR}/packaging/man_page.sh $<TARGET_FILE:unetdump_cli> ${PROJECT_SOURCE_DIR}/packaging/unetdump.1.in ${MAN_PAGE}
      DEPENDS unetdump_cli packaging/man_page.sh packaging/unetdump.1.in VERBATIM)
  add_custom_target(man_page ALL DEPENDS ${MAN_PAGE})
  install(FILES ${MAN_PAGE} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT command)
endif()

# The static library has a file of its own: only who wants it must have its dependencies.
install(TARGETS unetdump_static udump_dependencies EXPORT unetdump_static_targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(EXPORT unetdump_static_targets FILE unetdump-static.cmake NAMESPACE unetdump:: DESTINATION ${UDUMP_CMAKE_DIR} COMPONENT development)
if(TARGET unetdump)
  install(TARGETS unetdump EXPORT unetdump_shared_targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime
      NAMELINK_COMPONENT development)
  install(EXPORT unetdump_shared_targets FILE unetdump-shared.cmake NAMESPACE unetdump:: DESTINATION ${UDUMP_CMAKE_DIR} COMPONENT development)
endif()

configure_package_config_file(cmake/unetdump-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/unetdump-config.cmake
    INSTALL_DESTINATION ${UDUMP_CMAKE_DIR} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/unetdump-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/unetdump-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/unetdump-config-version.cmake
    DESTINATION ${UDUMP_CMAKE_DIR} COMPONENT development)

# Paths relative to the .pc file, so that `cmake --install --prefix` may choose another prefix.
file(RELATIVE_PATH UDUMP_PREFIX_FROM_PC /prefix/${UDUMP_PKG_CONFIG_DIR} /prefix)
string(REGEX REPLACE "/$" "" UDUMP_PREFIX_FROM_PC ${UDUMP_PREFIX_FROM_PC})
list(JOIN UDUMP_PKG_CONFIG_MODULES " " UDUMP_PC_REQUIRES)
list(TRANSFORM UDUMP_INSTALLED_LIBRARIES PREPEND -l OUTPUT_VARIABLE UDUMP_PC_LIBRARIES)
list(JOIN UDUMP_PC_LIBRARIES " " UDUMP_PC_LIBRARIES)
configure_file(cmake/unetdump.pc.in ${CMAKE_CURRENT_BINARY_DIR}/unetdump.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/unetdump.pc DESTINATION ${UDUMP_PKG_CONFIG_DIR} COMPONENT development)
