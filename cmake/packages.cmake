# Debian packages by CPack, each a component of install.cmake: `cpack` in the build folder, or ./run deb, which also checks them.
#   libunetdump0       the shared library                    libunetdump-dev   header, static library, pkg-config, CMake
#   libunetdump-cuda   the module, where it is built         unetdump          the command and its manual page
find_program(DPKG_SHLIBDEPS dpkg-shlibdeps)
find_program(DPKG_GENSYMBOLS dpkg-gensymbols)
if(NOT DPKG_SHLIBDEPS OR NOT DPKG_GENSYMBOLS OR NOT TARGET unetdump OR NOT TARGET unetdump_cli OR UDUMP_PYTHON OR UDUMP_SANITIZE)
  return()
endif()

file(STRINGS packaging/debian/changelog latest LIMIT_COUNT 1)
string(REGEX MATCH "\\(([0-9.]+)-([0-9]+)\\)" latest "${latest}")
set(DEBIAN_REVISION ${CMAKE_MATCH_2})
set(DEBIAN_VERSION ${PROJECT_VERSION}-${DEBIAN_REVISION})
if(NOT CMAKE_MATCH_1 VERSION_EQUAL PROJECT_VERSION)
  message(FATAL_ERROR "packaging/debian/changelog is of ${CMAKE_MATCH_1}, CMakeLists.txt of ${PROJECT_VERSION}")
endif()

# Which version each symbol came with: dpkg-gensymbols adds new ones, and says so in `./run deb`.
set(SYMBOLS ${CMAKE_CURRENT_BINARY_DIR}/packaging/symbols)
add_custom_command(OUTPUT ${SYMBOLS}
    COMMAND ${DPKG_GENSYMBOLS} -c0 -q -plibunetdump0 -v${PROJECT_VERSION} -I${PROJECT_SOURCE_DIR}/packaging/debian/libunetdump0.symbols
        -e$<TARGET_FILE:unetdump> -O${SYMBOLS}
    DEPENDS unetdump packaging/debian/libunetdump0.symbols VERBATIM)
set(DEBIAN_CHANGELOG ${CMAKE_CURRENT_BINARY_DIR}/packaging/changelog.Debian.gz)
set(CHANGELOG ${CMAKE_CURRENT_BINARY_DIR}/packaging/changelog.gz)
add_custom_command(OUTPUT ${DEBIAN_CHANGELOG} ${CHANGELOG}
    COMMAND gzip -9nc ${PROJECT_SOURCE_DIR}/packaging/debian/changelog > ${DEBIAN_CHANGELOG}
    COMMAND gzip -9nc ${PROJECT_SOURCE_DIR}/CHANGELOG.md > ${CHANGELOG}
    DEPENDS packaging/debian/changelog CHANGELOG.md)
add_custom_target(debian_files ALL DEPENDS ${SYMBOLS} ${DEBIAN_CHANGELOG} ${CHANGELOG})

set(CPACK_COMPONENTS_ALL "")
# One package; what stands in `cmake --install` only where its component is named (EXCLUDE_FROM_ALL) is Debian's alone.
macro(debian_package component name section summary description)
  list(APPEND CPACK_COMPONENTS_ALL ${component})
  string(TOUPPER ${component} key)
  set(CPACK_DEBIAN_${key}_PACKAGE_NAME ${name})
  set(CPACK_DEBIAN_${key}_PACKAGE_SECTION ${section})
  set(CPACK_DEBIAN_${key}_DESCRIPTION "${summary}\n${description}")
  install(FILES packaging/debian/copyright ${DEBIAN_CHANGELOG} ${CHANGELOG} DESTINATION share/doc/${name} COMPONENT ${component} EXCLUDE_FROM_ALL)
  install(FILES packaging/debian/${component}.lintian-overrides DESTINATION share/lintian/overrides RENAME ${name} COMPONENT ${component} EXCLUDE_FROM_ALL)
endmacro()

set(what "It loads a Stable Diffusion checkpoint (1.x, 2.x or XL), samples images, and
shows what happens in the U-Net meanwhile: the output of every block at every
step, attention by head and token, a different prompt for every block and what
that changes; as tiled and coloured pictures, as raw values, or as one page.")
debian_package(runtime libunetdump0 libs "see inside Stable Diffusion's U-Net (shared library)" "${what}")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/packaging/shlibs "libunetdump 0 libunetdump0 (>= ${PROJECT_VERSION})\n")
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/packaging/triggers "activate-noawait ldconfig\n")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA ${SYMBOLS} ${CMAKE_CURRENT_BINARY_DIR}/packaging/shlibs ${CMAKE_CURRENT_BINARY_DIR}/packaging/triggers)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SUGGESTS libunetdump-cuda)

debian_package(development libunetdump-dev libdevel "see inside Stable Diffusion's U-Net (development files)"
    "${what}\n.\nThe header, the static library, and files for pkg-config and CMake.")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "libunetdump0 (= ${DEBIAN_VERSION}), libc6-dev, libdnnl-dev, libisal-dev, libjansson-dev, libpng-dev, libutf8proc-dev, nettle-dev")

debian_package(command unetdump graphics "see inside Stable Diffusion's U-Net" "${what}")
set(CPACK_DEBIAN_COMMAND_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_COMMAND_PACKAGE_SUGGESTS libunetdump-cuda)

if(TARGET unetdump_cuda)
  debian_package(cuda libunetdump-cuda libs "see inside Stable Diffusion's U-Net (module for CUDA)"
      "${what}\n.\nThe module that runs it on a GPU. It loads cuBLASLt and cuDNN, which are not\nin Debian.")
  set(CPACK_DEBIAN_CUDA_PACKAGE_SHLIBDEPS ON)
  set(CPACK_DEBIAN_CUDA_PACKAGE_ENHANCES "libunetdump0 (= ${DEBIAN_VERSION}), unetdump (= ${DEBIAN_VERSION})")
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE ${DEBIAN_REVISION})
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "libunetdump authors <authors@libunetdump.example>")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/deb)
set(CPACK_STRIP_FILES ON)
include(CPack)
