# What is used of the distribution: see docs/architecture.md for why each is there.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
set(UDUMP_PKG_CONFIG_MODULES jansson libutf8proc libpng libisal nettle)
pkg_check_modules(UDUMP_LIBS REQUIRED IMPORTED_TARGET ${UDUMP_PKG_CONFIG_MODULES})

# Installed, the static library names what pkg-config does not know by -l (UDUMP_INSTALLED_LIBRARIES): neither a path nor a compiler's version.
add_library(udump_dependencies INTERFACE)
set_target_properties(udump_dependencies PROPERTIES EXPORT_NAME dependencies)
target_link_libraries(udump_dependencies INTERFACE PkgConfig::UDUMP_LIBS Threads::Threads m)
set(UDUMP_INSTALLED_LIBRARIES m pthread)
if(UDUMP_PLAIN_THREADS)
  target_compile_definitions(udump_dependencies INTERFACE $<BUILD_INTERFACE:UDUMP_PLAIN_THREADS>)
else()
  find_package(OpenMP REQUIRED COMPONENTS C)
  find_library(DNNL_LIBRARY dnnl REQUIRED)
  list(GET OpenMP_C_LIB_NAMES 0 UDUMP_OPENMP_RUNTIME)
  list(PREPEND UDUMP_INSTALLED_LIBRARIES dnnl ${UDUMP_OPENMP_RUNTIME})
  target_link_libraries(udump_dependencies INTERFACE
      $<BUILD_INTERFACE:OpenMP::OpenMP_C> $<BUILD_INTERFACE:${DNNL_LIBRARY}> $<INSTALL_INTERFACE:dnnl> $<INSTALL_INTERFACE:${UDUMP_OPENMP_RUNTIME}>)
endif()
