# The CUDA module, where nvcc is: kernels for the architectures below and PTX for newer ones, cudart linked in, the vendors' libraries loaded
# while running. A kernel that spills registers is an error.
option(UDUMP_CUDA "Build the CUDA module where nvcc is found" ON)
set(UDUMP_CUDA_ARCHITECTURES "80;89;90;100" CACHE STRING "Compute capabilities of the CUDA module; the last one's PTX comes along")
find_program(NVCC nvcc HINTS $ENV{CUDA_HOME}/bin /usr/local/cuda/bin)
if(NOT UDUMP_CUDA OR NOT NVCC OR UDUMP_SANITIZE OR UDUMP_LIBFUZZER)
  return()
endif()
get_filename_component(CUDA_ROOT ${NVCC} REALPATH)
get_filename_component(CUDA_ROOT ${CUDA_ROOT}/../.. ABSOLUTE)
find_path(CUDA_INCLUDE cuda_runtime_api.h HINTS ${CUDA_ROOT}/include ${CUDA_ROOT}/targets/x86_64-linux/include)
find_path(CUDNN_INCLUDE cudnn.h HINTS ${CUDA_INCLUDE})
find_library(CUDART_STATIC cudart_static HINTS ${CUDA_ROOT}/lib64 ${CUDA_ROOT}/lib ${CUDA_ROOT}/targets/x86_64-linux/lib)
if(NOT CUDA_INCLUDE OR NOT CUDNN_INCLUDE OR NOT CUDART_STATIC OR NOT EXISTS ${CUDA_INCLUDE}/cublasLt.h)
  message(STATUS "nvcc is there, but not the headers of cuBLASLt and cuDNN: no CUDA module")
  return()
endif()

set(CODE "")
foreach(architecture ${UDUMP_CUDA_ARCHITECTURES})
  list(APPEND CODE -gencode arch=compute_${architecture},code=sm_${architecture})
  set(newest ${architecture})
endforeach()
list(APPEND CODE -gencode arch=compute_${newest},code=compute_${newest})

file(GLOB KERNELS CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/*.cu)
file(GLOB KERNEL_HEADERS CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/*.h ${PROJECT_SOURCE_DIR}/kernels/*.cuh)
set(KERNEL_OBJECTS "")
foreach(kernel ${KERNELS})
  get_filename_component(name ${kernel} NAME_WE)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/kernels/${name}.o)
  set(fused true)
  if(name MATCHES "^(tile_colour|tile_rgb|linear_combination|cfg_combine)$") # bytes and steps are the CPU's, operation by operation
    set(fused false)
  endif()
  add_custom_command(OUTPUT ${object}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/kernels
      COMMAND ${NVCC} -std=c++17 -O3 ${CODE} -fmad=${fused}
          -Xptxas --warn-on-spills,-Werror -Xcompiler -fPIC,-fvisibility=hidden
          -I${PROJECT_SOURCE_DIR}/kernels -I${PROJECT_SOURCE_DIR}/src -c ${kernel} -o ${object}
      DEPENDS ${kernel} ${KERNEL_HEADERS} ${PROJECT_SOURCE_DIR}/src/backend/style.h VERBATIM)
  list(APPEND KERNEL_OBJECTS ${object})
endforeach()

file(GLOB CUDA_HOST CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/backend/cuda/*.c)
file(GLOB CUDA_SHARED_PARTS CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/base/*.c ${PROJECT_SOURCE_DIR}/src/tensor/*.c)
list(FILTER CUDA_SHARED_PARTS EXCLUDE REGEX "/(parallel|digest)\\.c$") # of the host alone
list(APPEND CUDA_SHARED_PARTS ${PROJECT_SOURCE_DIR}/src/backend/exec.c ${PROJECT_SOURCE_DIR}/src/backend/ops.c)
add_library(unetdump_cuda MODULE ${CUDA_HOST} ${CUDA_SHARED_PARTS} ${KERNEL_OBJECTS})
target_include_directories(unetdump_cuda PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
target_include_directories(unetdump_cuda SYSTEM PRIVATE ${CUDA_INCLUDE} ${CUDNN_INCLUDE})
target_link_libraries(unetdump_cuda PRIVATE udump_flags ${CUDART_STATIC} Threads::Threads dl rt m stdc++)
set_target_properties(unetdump_cuda PROPERTIES OUTPUT_NAME unetdump-cuda C_VISIBILITY_PRESET hidden)
install(TARGETS unetdump_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT cuda)

# Whether cuDNN has a plan for every convolution and self-attention of every family, on a card that is only described: needs the library, and no device.
if(UDUMP_BUILD_TESTS)
  add_executable(check_plans ${PROJECT_SOURCE_DIR}/tests/device/plans/check_plans.c ${PROJECT_SOURCE_DIR}/src/backend/cuda/convolution.c
      ${PROJECT_SOURCE_DIR}/src/backend/cuda/dnn.c ${PROJECT_SOURCE_DIR}/src/backend/cuda/fastest.c ${PROJECT_SOURCE_DIR}/src/backend/cuda/library.c ${PROJECT_SOURCE_DIR}/src/backend/cuda/plans.c)
  add_executable(check_attention_plans ${PROJECT_SOURCE_DIR}/tests/device/plans/check_attention_plans.c
      ${PROJECT_SOURCE_DIR}/src/backend/cuda/fused_attention.c ${PROJECT_SOURCE_DIR}/src/backend/cuda/dnn.c ${PROJECT_SOURCE_DIR}/src/backend/cuda/library.c)
  add_executable(save_device ${PROJECT_SOURCE_DIR}/tests/device/plans/save_device.c ${PROJECT_SOURCE_DIR}/src/backend/cuda/dnn.c
      ${PROJECT_SOURCE_DIR}/src/backend/cuda/library.c)
  foreach(program check_plans check_attention_plans save_device)
    target_include_directories(${program} PRIVATE ${PROJECT_SOURCE_DIR}/src)
    target_include_directories(${program} SYSTEM PRIVATE ${CUDA_INCLUDE} ${CUDNN_INCLUDE})
    target_link_libraries(${program} PRIVATE udump_flags unetdump_static ${CUDART_STATIC} Threads::Threads m dl rt)
  endforeach()
  find_library(CUDNN_LIBRARY cudnn HINTS ${CUDA_ROOT}/lib64 ${CUDA_ROOT}/lib)
  if(CUDNN_LIBRARY)
    get_filename_component(CUDNN_FOLDER ${CUDNN_LIBRARY} DIRECTORY)
    add_test(NAME convolution_plans COMMAND check_plans ${PROJECT_SOURCE_DIR}/tests/device/h200.json ${CUDNN_FOLDER})
    find_file(CUDA_STUB libcuda.so HINTS ${CUDA_ROOT}/lib64/stubs ${CUDA_ROOT}/lib/stubs ${CUDA_ROOT}/targets/x86_64-linux/lib/stubs NO_DEFAULT_PATH)
    if(CUDA_STUB)
      file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/stubs)
      file(CREATE_LINK ${CUDA_STUB} ${PROJECT_BINARY_DIR}/stubs/libcuda.so.1 SYMBOLIC)
      add_test(NAME attention_plans COMMAND check_attention_plans ${PROJECT_SOURCE_DIR}/tests/device/h200.json ${CUDNN_FOLDER})
      set_tests_properties(attention_plans PROPERTIES ENVIRONMENT LD_LIBRARY_PATH=${PROJECT_BINARY_DIR}/stubs SKIP_RETURN_CODE 77)
    endif()
  endif()
endif()
