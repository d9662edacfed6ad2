# What `make install` copies: program, library, headers, pkg-config file, CMake package, man pages.
include(CMakePackageConfigHelpers)

install(TARGETS gm EXPORT gradiometer)
install(EXPORT gradiometer NAMESPACE gradiometer:: FILE gradiometer-targets.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/gradiometer)
install(DIRECTORY include/gradiometer TYPE INCLUDE FILES_MATCHING PATTERN "*.h")
install(FILES LICENSE README.md CHANGELOG.md TYPE DOC)

configure_package_config_file(cmake/gradiometer-config.cmake.in gradiometer-config.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/gradiometer
                              NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(gradiometer-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gradiometer-config.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/gradiometer-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/gradiometer)

# A static library carries its needs into the caller's link; a shared one knows them itself.
string(REPLACE ";" " " GM_PC_OPENBLAS "${GM_OPENBLAS_LINK}")
set(GM_PC_LIBS "-L${OPENBLAS_DIR} ${GM_PC_OPENBLAS} -ldnnl -larpack -llapacke -lopenblas ${OpenMP_C_FLAGS} -lm")
if(BUILD_SHARED_LIBS)
  set(GM_PC_NEEDS "Requires.private: sqlite3 jansson libprotobuf-c libcyaml yaml-0.1 zlib\nLibs.private: ${GM_PC_LIBS}\nLibs:")
else()
  set(GM_PC_NEEDS "Requires: sqlite3 jansson libprotobuf-c libcyaml yaml-0.1 zlib\nLibs:")
  set(GM_PC_STATIC_LIBS " ${GM_PC_LIBS}")
endif()
configure_file(cmake/gradiometer.pc.in gradiometer.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gradiometer.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

foreach(program gradiometer gradiometer-mpi)
  if(TARGET ${program})
    install(TARGETS ${program})
  endif()
endforeach()
add_custom_target(man ALL) # empty without help2man
find_program(HELP2MAN help2man)
if(TARGET gradiometer AND HELP2MAN AND NOT GM_SANITIZE AND NOT GM_COVERAGE)
  add_custom_command(OUTPUT man1/gradiometer.1
                     COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/scripts/man.sh $<TARGET_FILE:gradiometer> man1
                     DEPENDS gradiometer scripts/man.sh COMMENT "Writing the man pages")
  add_custom_target(man_pages DEPENDS man1/gradiometer.1)
  add_dependencies(man man_pages)
  install(DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/man1 TYPE MAN)
endif()
