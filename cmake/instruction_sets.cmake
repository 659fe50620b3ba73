# Kernels compiled once for each instruction set and chosen at run time (src/backend/cpu/kernels_*.c). Never -march=native.
# -O3 also where the build asks for -O2: the matrix tiles stay in registers only when their loops are unrolled (3.5 times faster).
if(NOT UDUMP_PLAIN_THREADS)
  set(KERNEL_OPTIONS -ffp-contract=fast)
  if(UDUMP_SANITIZE) # ASan knows of each access; these checks beside it take the compiler and the tests most of their time
    list(APPEND KERNEL_OPTIONS -O2 -fno-sanitize=pointer-overflow,null)
  else()
    list(APPEND KERNEL_OPTIONS $<$<NOT:$<CONFIG:Debug>>:-O3>)
  endif()
  set_source_files_properties(src/backend/cpu/kernels_generic.c PROPERTIES COMPILE_OPTIONS "${KERNEL_OPTIONS}")
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    set_source_files_properties(src/backend/cpu/kernels_avx2.c PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma;-mf16c;${KERNEL_OPTIONS}")
    set_source_files_properties(src/backend/cpu/kernels_avx512.c PROPERTIES COMPILE_OPTIONS "-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mfma;-mf16c;-mprefer-vector-width=512;${KERNEL_OPTIONS}")
    include(CheckCCompilerFlag)
    check_c_compiler_flag("-mamx-bf16 -mavx512bf16" UDUMP_HAS_AMX) # GCC 11, Clang 12
    if(UDUMP_HAS_AMX)
      set_source_files_properties(src/backend/cpu/kernels_amx.c PROPERTIES COMPILE_OPTIONS "-mamx-tile;-mamx-bf16;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512bf16;-mfma;-mf16c;-mprefer-vector-width=512;${KERNEL_OPTIONS}")
    endif()
  endif()
endif()
