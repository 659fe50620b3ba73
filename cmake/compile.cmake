# How everything is compiled.
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_library(udump_flags INTERFACE)
target_compile_features(udump_flags INTERFACE c_std_11)
target_compile_definitions(udump_flags INTERFACE _GNU_SOURCE)
# -ffp-contract=off: the same sums on every machine; the fused multiply-adds that pay are chosen per file (instruction_sets.cmake).
target_compile_options(udump_flags INTERFACE -Wall -Wextra -Wshadow -Wvla -ffp-contract=off -fno-math-errno
    $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes> $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>)
if(UDUMP_WERROR)
  target_compile_options(udump_flags INTERFACE -Werror)
endif()
if(UDUMP_SANITIZE)
  target_compile_options(udump_flags INTERFACE -fsanitize=${UDUMP_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(udump_flags INTERFACE -fsanitize=${UDUMP_SANITIZE})
endif()
