# Tests. Every tests/test_*.c is a CMocka program; in sanitizer builds its name gets a prefix, so that one ctest run can
# show all builds side by side (scripts/test.sh). The checks of sources and of the installed tree run once, in the plain
# build.

set(GM_TEST_ENVIRONMENT OMP_WAIT_POLICY=passive) # idle threads sleep: tests run side by side
set(GM_TEST_PREFIX "")
set(GM_TEST_LAUNCHER "")
set(tests_dir ${CMAKE_CURRENT_SOURCE_DIR}/tests)

if(GM_SANITIZE STREQUAL "address")
  set(GM_TEST_PREFIX "asan/")
  list(APPEND GM_TEST_ENVIRONMENT ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
       LSAN_OPTIONS=suppressions=${tests_dir}/lsan.supp:print_suppressions=0 UBSAN_OPTIONS=print_stacktrace=1)
elseif(GM_SANITIZE STREQUAL "thread")
  set(GM_TEST_PREFIX "tsan/")
  # Archer tells the sanitizer of OpenMP's barriers and locks; the other libraries are not instrumented.
  find_library(ARCHER_LIBRARY archer PATHS /usr/lib/llvm-14/lib REQUIRED)
  list(APPEND GM_TEST_ENVIRONMENT OMP_NUM_THREADS=4 OMP_TOOL_LIBRARIES=${ARCHER_LIBRARY}
       TSAN_OPTIONS=suppressions=${tests_dir}/tsan.supp:ignore_noninstrumented_modules=1)
  # Kernels that place programs over many address bits break this sanitizer's memory map: switch that off where allowed.
  execute_process(COMMAND setarch -R true RESULT_VARIABLE status OUTPUT_QUIET ERROR_QUIET)
  if(status EQUAL 0)
    set(GM_TEST_LAUNCHER setarch -R)
  endif()
endif()

# Those that take longest (scripts/times.sh).
set(GM_LONG_TESTS "out_of_memory|resume|test_bound$|test_cli$|cli_(bound|dynamics|ensemble|images|spectrum_limits)$|density_peers|eigen$|survey_products")

# gm_add_test(NAME COMMAND [ARGUMENT...]): a test in this build's environment; programs of ours by target name.
function(gm_add_test name command)
  set(program ${command})
  if(TARGET ${command})
    set(program $<TARGET_FILE:${command}>)
  endif()
  add_test(NAME ${GM_TEST_PREFIX}${name} COMMAND ${GM_TEST_LAUNCHER} ${program} ${ARGN})
  set(environment ${GM_TEST_ENVIRONMENT})
  if(name MATCHES "^test_(cli|report)")
    # They search whole pages, and that check reads a page to its end at each step of a search: 80 s instead of 3.
    list(TRANSFORM environment REPLACE ":strict_string_checks=1" "")
  endif()
  if(name MATCHES "^test_eigen" AND NOT GM_SANITIZE STREQUAL "thread")
    # Vectors just long enough for two threads, ten thousand times: where tests run side by side these wait for each other
    # (8 s alone, 250 s seen). test_lanczos has the threads.
    list(APPEND environment OMP_NUM_THREADS=1)
  endif()
  set_tests_properties(${GM_TEST_PREFIX}${name} PROPERTIES ENVIRONMENT "${environment}" TIMEOUT 300)
  if(name MATCHES "${GM_LONG_TESTS}")
    set_tests_properties(${GM_TEST_PREFIX}${name} PROPERTIES COST 100) # first, so that none of them runs alone at the end
  endif()
endfunction()

# The thread sanitizer sees the rooms that start threads themselves.
set(GM_THREADED_TESTS ".*" CACHE STRING "regular expression: the tests that a GM_SANITIZE=thread build runs")

file(GLOB GM_TESTS CONFIGURE_DEPENDS tests/test_*.c)
# A hundred programs with the library in each of them: gold comes with binutils and links one in 0.15 s, where the default
# takes 0.47 s (thread sanitizer: 0.20 and 0.55).
include(CheckLinkerFlag)
check_linker_flag(C -fuse-ld=gold GM_HAS_GOLD)

foreach(source ${GM_TESTS})
  get_filename_component(name ${source} NAME_WE)
  if(GM_SANITIZE STREQUAL "thread" AND NOT name MATCHES "${GM_THREADED_TESTS}")
    continue()
  endif()
  add_executable(${name} ${source})
  target_include_directories(${name} PRIVATE src tests)
  target_include_directories(${name} SYSTEM PRIVATE ${GM_MESSAGES})
  target_compile_definitions(${name} PRIVATE GM_SHARED_DATA="${CMAKE_CURRENT_SOURCE_DIR}/../shared/data"
                                             GM_FIXTURES="${tests_dir}/fixtures")
  # Less time to compile, while the library keeps its own flags: tests of the program compute nothing; undefined
  # behaviour is looked for in what is tested. (Seconds of a test, address sanitizer: 1.14, without undefined 0.81, at -O0
  # 0.42; plain 0.58, at -O0 0.20.)
  if(name MATCHES "^test_cli")
    target_compile_options(${name} PRIVATE -O0)
  else()
    target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  endif()
  if(GM_SANITIZE STREQUAL "address")
    target_compile_options(${name} PRIVATE -fno-sanitize=undefined)
  endif()
  # NAN and INFINITY are float constants, of which only clang complains.
  target_compile_options(${name} PRIVATE $<$<C_COMPILER_ID:Clang>:-Wno-double-promotion>)
  target_link_libraries(${name} PRIVATE gm cmocka PkgConfig::SQLITE PkgConfig::JANSSON
                        PkgConfig::PROTOBUFC ZLIB::ZLIB m)
  if(GM_HAS_GOLD)
    target_link_options(${name} PRIVATE -fuse-ld=gold)
  endif()
  gm_add_test(${name} ${name})
endforeach()

# The examples run too, so that they cannot rot. tests/install builds them once more, against the installed library, which
# is a static one in the plain build; the address sanitizer's is shared, and its tree is tried by the outside program alone.
if(NOT GM_SANITIZE STREQUAL "thread")
  set(GM_EXAMPLE_ARGUMENT_callback_operator 5000)
  add_subdirectory(examples)
endif()

if(GM_SANITIZE STREQUAL "address" AND BUILD_SHARED_LIBS AND TARGET gradiometer)
  gm_add_test(install ${tests_dir}/install/run.sh ${CMAKE_BINARY_DIR} ${CMAKE_C_COMPILER} shared
              -fsanitize=address,undefined)
endif()

if(NOT GM_SANITIZE AND NOT GM_COVERAGE)
  add_test(NAME sources.format COMMAND ${tests_dir}/sources.sh format)
  add_test(NAME sources.rules COMMAND ${tests_dir}/sources.sh rules)
  add_test(NAME sources.headers COMMAND ${tests_dir}/sources.sh headers ${CMAKE_C_COMPILER})
  # A hundredth of the analyzer's states, for the time that tests have; `make tidy` looks at all of them.
  add_test(NAME sources.tidy COMMAND ${tests_dir}/sources.sh tidy ${CMAKE_BINARY_DIR} 2000)
  add_test(NAME deps COMMAND ${tests_dir}/deps.sh)
  set_tests_properties(sources.tidy PROPERTIES TIMEOUT 600 PROCESSORS 2 COST 1000)
  if(TARGET gradiometer)
    add_test(NAME one_openblas COMMAND ${tests_dir}/one_openblas.sh $<TARGET_FILE:gradiometer>)
    add_test(NAME install COMMAND ${tests_dir}/install/run.sh ${CMAKE_BINARY_DIR} ${CMAKE_C_COMPILER} static)
    set_tests_properties(install PROPERTIES COST 100)
  endif()
endif()
