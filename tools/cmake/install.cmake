# What a host needs: the library, its header, and how pkg-config and CMake find them. Component
# `native` is that; `ggml` is the plugin that llama.cpp loads and the header of its control table.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

if(TARGET oclora)
    target_include_directories(oclora INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    install(TARGETS oclora EXPORT oclora
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT native NAMELINK_COMPONENT native)
    install(FILES "${PROJECT_SOURCE_DIR}/abi/oclora.h" "${PROJECT_SOURCE_DIR}/abi/oclora_types.h"
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT native)

    set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/oclora")
    install(EXPORT oclora NAMESPACE oclora:: FILE oclora-config.cmake DESTINATION ${package_dir}
        COMPONENT native)
    write_basic_package_version_file("${PROJECT_BINARY_DIR}/oclora-config-version.cmake"
        COMPATIBILITY SameMajorVersion)
    install(FILES "${PROJECT_BINARY_DIR}/oclora-config-version.cmake" DESTINATION ${package_dir}
        COMPONENT native)

    # Relative to the .pc file, so that an installed tree may be moved; lib may be lib/x86_64-linux-gnu.
    file(RELATIVE_PATH up "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
    configure_file("${PROJECT_SOURCE_DIR}/tools/cmake/oclora.pc.in" "${PROJECT_BINARY_DIR}/oclora.pc" @ONLY)
    install(FILES "${PROJECT_BINARY_DIR}/oclora.pc"
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT native)
endif()
if(TARGET ggml-oclora)
    install(TARGETS ggml-oclora LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT ggml)
    install(FILES "${PROJECT_SOURCE_DIR}/abi/oclora_ggml.h"
        "${PROJECT_SOURCE_DIR}/abi/oclora_types.h"
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT ggml)
endif()
